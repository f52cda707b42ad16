"""The campaign's page: figures and one self-contained HTML file."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 8
