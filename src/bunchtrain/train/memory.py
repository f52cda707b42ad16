"""Freed memory that stays with the process."""

from __future__ import annotations

import ctypes

#: mallopt's numbers of what it sets (malloc.h), and what is set: the sizes from which freed memory goes back at once,
#: and what is taken in advance.
_SETTINGS = {-1: 1 << 30, -3: 32 << 20, -2: 64 << 20}


def keep_freed() -> bool:
    """Have the C library keep memory that is freed; return whether it does.

    As it is, glibc gives a step's large tensors back to the kernel, which fills their pages with zeros in the next
    step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc alone has it
    return mallopt is not None and all(mallopt(name, value) for name, value in _SETTINGS.items())
