"""One training: the loop, its checkpoints, and what it leaves behind."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 5
