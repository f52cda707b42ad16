"""Suggestions are made in a process of their own, so that the loop of a search is free to note ends and starts."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import TypeVar

from bunchtrain.errors import TrainingError

T = TypeVar("T")


def ask(suggest: Callable[..., T], *arguments: object) -> Future[T]:
    """Have a call made in the process for suggestions, which starts with the first and ends with this process."""
    try:
        return _process().submit(suggest, *arguments)
    except BrokenProcessPool:  # ended from outside while it had nothing to do
        _process.cache_clear()
        return _process().submit(suggest, *arguments)


def preload(module: str) -> None:
    """Have the process import a module beside its other work: DeepHyper takes seconds, in which slots would wait."""
    ask(_preload, module)


def _preload(module: str) -> None:
    threading.Thread(target=_import, args=(module,), daemon=True).start()


def _import(module: str) -> None:
    with contextlib.suppress(ImportError):  # the call that needs it will say so
        importlib.import_module(module)


def answer(asked: Future[T]) -> T:
    """Return what a call has returned.

    Raises
    ------
    TrainingError
        If something else has ended the process.
    """
    try:
        return asked.result()
    except BrokenProcessPool:
        _process.cache_clear()
        raise TrainingError(
            "the process that makes a scan's suggestions was ended from outside, perhaps for want of memory",
            mend="run the scan again: it goes on from its journal",
        ) from None


@cache
def _process() -> ProcessPoolExecutor:
    # Not forked: this process has threads, and may have started MPI.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Leave the end to the parent, whom signals reach too, and follow it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
