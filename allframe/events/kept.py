"""A connection that a forked child inherited must neither be used nor closed there."""

from __future__ import annotations

import sqlite3
import sys

__all__ = ["keep_for_ever"]


def keep_for_ever(connection: sqlite3.Connection) -> None:
    """Let it never be closed, also not by being collected when the process ends."""
    # Closing it would move the parent's log, and wait for a mutex that a thread held which is not here any more.
    if sys.implementation.name == "cpython":
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
