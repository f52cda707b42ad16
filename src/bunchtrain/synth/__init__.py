"""From a trained network to an FPGA IP core, proven bit for bit."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 5
