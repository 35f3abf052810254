"""Who has a name in a saga: what has it where no step does, two bases that both have it, a field that takes it."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel

from allframe.errors import Problem
from allframe.saga.bodies import inherits
from allframe.saga.definition import Definition, fields_of
from allframe.saga.marks import mark_of
from allframe.source import place_of

__all__ = ["bases_share_no_names", "fields_hide_nothing", "fields_replace_nothing", "what_has_the_name"]


def what_has_the_name(definition: Definition, name: Any) -> str:
    """What has a name that no step has, as the end of a message; empty if nothing does."""
    if isinstance(name, types.FunctionType):
        return f' A step is named by a text: write after="{name.__name__}".'
    if not isinstance(name, str):
        return " A step is named by a text."
    for step in definition.steps:
        if step.mark.name == name:
            return f" {name!r} is what {step.attribute!r} is stored as: write {step.attribute!r}."
    if any(undo.attribute == name for undo in definition.compensations):
        return f" {name!r} is a compensation."
    if name in definition.fields:
        return f" {name!r} is a field."
    if isinstance(getattr(definition.cls, name, None), types.FunctionType) and not hasattr(BaseModel, name):
        return f" {name!r} is not marked: write @step above it."
    return ""


def bases_share_no_names(definition: Definition) -> Iterator[Problem]:
    """AF103: what one base has hides what another has; where the class, or a base of both, has it too, that is meant."""
    inherited = [
        declared.attribute for declared in definition.functions if declared.attribute not in vars(definition.cls)
    ]
    for name in inherited:
        owners = [base for base in definition.cls.__mro__ if mark_of(vars(base).get(name)) is not None]
        for other in owners[1:]:
            if not any(issubclass(owners[0], base) and issubclass(other, base) for base in owners):
                yield Problem(
                    "AF103",
                    f"{name!r} is inherited twice, from {owners[0].__name__} and from {other.__name__}, and Python keeps only "
                    f"the first. Rename one, or write the one that is meant in {definition.cls.__name__}.",
                    definition.where,
                    name,
                )


def fields_hide_nothing(cls: type, base: type, ours: Collection[str], kind: str) -> Iterator[Problem]:
    """AF115: fields of a class below ``base`` that hide what every ``kind`` has; ``ours``: also what it gets later."""
    for field in fields_of(cls):
        if field in ours or hasattr(base, field):
            text = f"The field {field!r} hides {base.__name__}.{field}, which every {kind} has. Give the field another name."
            yield Problem("AF115", text, place_of(cls), field)


def fields_replace_nothing(cls: type) -> Iterator[Problem]:
    """AF114: fields of this body that have the name of an inherited step or compensation."""
    own = cls.__dict__.get("__annotations__", {})
    for field in fields_of(cls):
        if field in own and any(inherits(base, field) for base in cls.__bases__):
            text = (
                f"{field!r} is a field, and an inherited step or compensation, and Python keeps only one of them. "
                "Rename one."
            )
            yield Problem("AF114", text, place_of(cls), field)
