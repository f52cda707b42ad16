"""Trained surrogates in use: files of parameters in, files of quantities out."""

from enum import StrEnum


class Outside(StrEnum):
    """What becomes of rows whose parameters lie outside of what a surrogate has learned."""

    REFUSE = "refuse"
    FLAG = "flag"
