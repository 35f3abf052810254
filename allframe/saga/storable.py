"""AF110: whether what a saga takes and what its steps return can be stored as JSON and read back equal.

Only what certainly cannot is refused. The rest shows itself when a value makes the round trip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic_core.core_schema import CoreConfig

from allframe.errors import Problem
from allframe.events.event import Event
from allframe.inject import type_name
from allframe.payload import PLAIN, adapter_of
from allframe.roundtrip.obstacles import Obstacle, find_obstacles
from allframe.saga.annotations import strip
from allframe.saga.definition import Definition

__all__ = ["check_storage"]

#: Of one type. Who has mended these sees the others.
_MANY: Final = 10


def check_storage(definition: Definition) -> list[Problem]:
    """The problems of the input and of each output; every annotation is resolved."""
    attributes = {declared.attribute for declared in definition.functions}
    names = definition.around.names()
    problems = [
        Problem("AF110", f"The input {text}", definition.where, member=field or None)
        for path, text in _told(definition.cls, names)
        # A field that is a step or a compensation as well is against AF114, and pydantic takes the function for its default.
        if (field := path.partition("[")[0].partition(".")[0]) not in attributes
    ]
    for step in definition.steps:
        what = f"What {step.attribute!r} returns: "
        problems += [
            Problem("AF110", what + text, step.where, member=step.attribute) for _, text in _told(step.output, names)
        ]
    return problems


def _told(annotation: Any, names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What keeps values of this type from being stored: the path of each part, and the words.

    ``names``: what the text of annotations inside of it may mean besides.
    """
    name = type_name(annotation)
    try:
        found = _obstacles(annotation, names)
    except Exception as error:  # noqa: BLE001 - pydantic asks the type, which may answer anything
        yield (
            "",
            f"{name} cannot be stored: {_said(annotation, error)}. Use types that pydantic can write as JSON and read "
            "again: models, dataclasses, plain values.",
        )
        return
    for obstacle in found[:_MANY]:
        part = repr(obstacle.path) if obstacle.path else "it"
        yield obstacle.path, f"{name} cannot be stored: {part} {obstacle.text}. {obstacle.remedy}"


def _said(annotation: Any, error: Exception) -> str:
    if annotation is BaseModel:
        return "it is BaseModel, which names no fields"
    # The first sentence: pydantic goes on to say how to make it accept any type.
    said = (str(error) or type(error).__name__).splitlines()[0].split(". ", 1)[0].rstrip(".")
    return f"pydantic fails on it with KeyError {said}" if isinstance(error, KeyError) else said


#: Types of which everybody knows.
_PLAIN_TYPES: Final = {None, type(None), str, int, float, bool, Decimal, UUID, bytes, date, datetime}


def _obstacles(annotation: Any, names: Mapping[str, Any]) -> list[Obstacle]:
    if isinstance(annotation, type | None) and annotation in _PLAIN_TYPES:
        return []
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        adapter: TypeAdapter[Any] = adapter_of(annotation, names)
        events = ("", "[*]") if get_origin(strip(annotation)) is list else ("",)
        # An event, or a list of them, is stored by its own class, whatever the annotation says.
        return find_obstacles(
            adapter.core_schema, PLAIN, ignores=lambda path, value: path in events and isinstance(value, Event)
        )
    annotation.model_rebuild()
    schema: Mapping[str, Any] = annotation.__pydantic_core_schema__
    known: tuple[Any, list[Obstacle]] | None = vars(annotation).get("__allframe_obstacles__")
    if known is None or known[0] is not schema:
        known = schema, find_obstacles(schema, _config(annotation))
        type.__setattr__(annotation, "__allframe_obstacles__", known)
    return known[1]


def _config(model: type[BaseModel]) -> dict[str, Any]:
    return {word: value for word, value in model.model_config.items() if word in CoreConfig.__annotations__}
