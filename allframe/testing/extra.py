"""What an extra brings, imported where it is used, with an error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Around ``import package``, which only the extra ``allframe[testing]`` brings.

    Raises:
        ModuleNotFoundError: if it is not installed, saying what to do.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"This part of allframe.testing needs {package}, which is not installed: pip install 'allframe[testing]'.",
            name=package,
        ) from error
