"""What a container makes for an attempt: from before its body begins until its record is safe.

Nothing is opened for an attempt that needs nothing of a container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from allframe.inject import Provider, Scope
from allframe.saga.context import StepContext
from allframe.saga.graph import Parameter, Source
from allframe.saga.perform import Attempt

__all__ = ["Scoped", "Scopes"]

logger = logging.getLogger("allframe")


class Scopes:
    """The scopes of a saga's attempts that are under way, by the index of their step."""

    def __init__(self) -> None:
        self._open: dict[int, Scoped] = {}
        self._closing = 0

    def __bool__(self) -> bool:
        """Whether one is not closed yet."""
        return bool(self._open or self._closing)

    def open(
        self, step: int, provider: Provider, parameters: Sequence[Parameter], context: StepContext, this: Attempt
    ) -> Scoped:
        """The scope of an attempt whose function has ``parameters``."""
        made = [one for one in parameters if one.source is Source.INJECT and provider.makes(one.wanted)]
        if not made:
            return Scoped(None, (), this)
        scoped = self._open[step] = Scoped(provider.scope({StepContext: context}), made, this)
        return scoped

    async def close(self, step: int, saga_id: str, name: str) -> bool:
        """Close the scope of ``step``'s attempt; returns whether there was one.

        Raises:
            KeyboardInterrupt: that came out of it.
        """
        # Taken out first: somebody may retry what failed while this is still closing.
        scoped = self._open.pop(step, None)
        if scoped is None:
            return False
        if scoped.is_in_use:
            return True
        self._closing += 1
        try:
            await scoped.close(saga_id, name)
        finally:
            self._closing -= 1
        return True


class Scoped:
    """The objects that ``scope`` makes for ``parameters`` of one attempt."""

    def __init__(self, scope: Scope | None, parameters: Sequence[Parameter], this: Attempt) -> None:
        self._scope, self._parameters, self._this = scope, parameters, this

    @property
    def is_in_use(self) -> bool:
        """Whether a thread that nobody waits for any more goes on with the objects: they are left to it."""
        return self._this.outlived

    async def made(self) -> dict[str, Any]:
        """An object for each parameter, by its name. Asked for within the attempt, whose deadline holds here as well.

        While something is being made, ``making`` of the attempt says for which parameter: so long, the body has not
        begun.
        """
        made: dict[str, Any] = {}
        if self._scope is None:
            return made
        for parameter in self._parameters:
            self._this.making = parameter
            made[parameter.name] = await self._scope.get(parameter.wanted)
        # A factory that never yields, or swallows its cancellation, may have used up the time: begin nothing any more.
        if anyio.current_time() >= self._this.scope.deadline:
            self._this.scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._this.making = None
        return made

    def kept_by(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """``function``, which keeps the objects open for as long as it runs, also when nobody else has their scope.

        What is dropped is finalised by the garbage collector, under the hands of a thread that goes on.
        """
        return function if self._scope is None else partial(_call_within, self, function)

    async def close(self, saga_id: str, step: str) -> None:
        """Finalise them. What goes wrong is logged, and changes nothing of what was recorded.

        Raises:
            KeyboardInterrupt: that came out of it.
        """
        assert self._scope is not None
        this = self._this
        error = None if this.returned else this.error or TimeoutError("The attempt was cut.")
        for trouble in await self._scope.close(error):
            logger.error(
                "saga %s: what the container made for step %s could not be closed, and what was recorded stands: %r",
                saga_id,
                step,
                trouble,
                exc_info=trouble,
            )


def _call_within(scoped: Scoped, function: Callable[[], Any]) -> Any:
    """Whoever calls it has ``scoped`` in hand until it returns."""
    return function()
