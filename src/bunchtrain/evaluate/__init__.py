"""Accuracy and uncertainty of a trained network."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 5
