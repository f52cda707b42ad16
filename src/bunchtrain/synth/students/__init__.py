"""Kinds of small networks that become cores, one file each."""
