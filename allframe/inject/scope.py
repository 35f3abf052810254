"""`Scope`: what a container makes for one attempt, until the attempt is over and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from allframe.inject.annotation import split_component

if TYPE_CHECKING:
    from dishka import AsyncContainer  # pyright: ignore[reportMissingImports]

__all__ = ["Scope"]


class Scope:
    """Objects that belong together: each is made once, when it is first asked for.

    ``closing``: seconds that finalising them may take.
    """

    def __init__(self, container: AsyncContainer, closing: float) -> None:
        self._container, self._closing = container, closing

    async def get(self, wanted: Any) -> object:
        """The object for ``wanted``. Whatever its factory raises comes out of it."""
        kind, component = split_component(wanted)
        return await self._container.get(kind, component=component)

    async def close(self, error: BaseException | None) -> list[BaseException]:
        """Finalise what was made, the newest first, out of everybody's reach; factories are told of ``error``.

        What takes too long is cut, and so is what comes after it, at its first wait.

        Returns:
            What went wrong meanwhile.

        Raises:
            KeyboardInterrupt: that came out of it.
        """
        troubles: list[BaseException] = []
        seconds = self._closing
        while True:
            with anyio.CancelScope(deadline=anyio.current_time() + seconds, shield=True) as limit:
                try:
                    await self._container.close(error)
                    return troubles
                except (KeyboardInterrupt, anyio.get_cancelled_exc_class()):
                    raise
                except Exception as trouble:  # noqa: BLE001 - dishka gathers those of all factories, and is done
                    return [*troubles, trouble]
                except BaseException as trouble:  # noqa: BLE001 - this ends dishka's round: the others are still to come
                    troubles.append(trouble)
            if limit.cancelled_caught:
                troubles.append(TimeoutError(f"It was not closed within {self._closing:g} s."))
                seconds = 0.0
