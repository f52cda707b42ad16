"""The blind search: windows of the dijet mass, classifiers without labels, and a bump hunt."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 1
