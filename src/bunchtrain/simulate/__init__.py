"""The embedded generator: hard processes to jets, or to hits, and calorimeter showers, in ROOT files."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 2
