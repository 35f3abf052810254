"""Saga classes of any shape, made from a table: for each step what it runs after, and whatever else is said of it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from allframe import Inject, Saga, StepContext, compensates, step
from tests.saga.world import World


def shaped(
    shape: Mapping[str, tuple[str, ...] | None],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    undo: Mapping[str, Mapping[str, Any]] | None = None,
    irreversible: tuple[str, ...] = (),
    **keywords: Any,
) -> Any:
    """A saga over a `World`.

    Args:
        shape: For each step, in the order of the body, its ``after=``.
        options: Of a step, what else ``@step`` is given. No step has a timeout if this does not say so.
        undo: Of a step, what ``@compensates`` is given.
        irreversible: The steps without a compensation.
        keywords: Of the class.
    """

    def fill(body: dict[str, Any]) -> None:
        body["__module__"] = __name__
        for name, after in shape.items():
            given: dict[str, Any] = {"timeout": None, **(options or {}).get(name, {})}
            body[name] = step(after=after, **given)(_acting())
            if name not in irreversible:
                how: dict[str, Any] = {"timeout": None, **(undo or {}).get(name, {})}
                body[f"undo_{name}"] = compensates(name, **how)(_undoing())

    return types.new_class("Shaped", (Saga,), {"name": "shaped", **keywords}, fill)


def _acting() -> Any:
    async def act(self: Any, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output

    return act


def _undoing() -> Any:
    async def undo(self: Any, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, ctx.outcome)

    return undo


#: Two that wait for one, and one that waits for both.
DIAMOND: Mapping[str, tuple[str, ...] | None] = {"top": (), "left": ("top",), "right": ("top",), "bottom": None}
