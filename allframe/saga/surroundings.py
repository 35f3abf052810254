"""`Surroundings`: the functions around a class, whose local names the text of its annotations may mean."""

from __future__ import annotations

from types import FrameType
from typing import Any

__all__ = ["Surroundings"]


class Surroundings:
    """The frames around a ``class`` statement, from the nearest outwards; none where it stands in a module.

    Frames and not their names: a model further down in the function is there later. They keep everything in the
    function alive, so `forget` is called once the annotations are resolved.
    """

    __slots__ = ("_frames",)

    def __init__(self, frame: FrameType | None = None) -> None:
        self._frames: list[FrameType] = []
        while frame is not None and frame.f_locals is not frame.f_globals:
            self._frames.append(frame)
            frame = _around(frame)

    def names(self) -> dict[str, Any]:
        """The names that can be seen there now; inner ones hide outer ones."""
        found: dict[str, Any] = {}
        for frame in reversed(self._frames):
            found.update(frame.f_locals)
        return found

    def forget(self) -> None:
        """Let go of the functions: their names were only for resolving."""
        self._frames = []


def _around(inner: FrameType) -> FrameType | None:
    """The frame of the function in whose text that of ``inner`` stands, if it is still on the stack."""
    frame = inner.f_back
    while frame is not None:
        if frame.f_globals is inner.f_globals and any(each is inner.f_code for each in frame.f_code.co_consts):
            return frame
        frame = frame.f_back
    return None
