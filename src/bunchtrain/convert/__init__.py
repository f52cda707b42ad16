"""ROOT files into the HDF5 event contract."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 2
