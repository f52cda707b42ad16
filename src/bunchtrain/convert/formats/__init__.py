"""Formats of ROOT files, one kind a module."""
