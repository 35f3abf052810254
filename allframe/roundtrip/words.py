"""What is said of an obstacle, and what a person is told to write instead."""

from __future__ import annotations

from typing import Any, Final

from allframe.masking import shown
from allframe.roundtrip.probing import Witness
from allframe.roundtrip.schemas import Schema

__all__ = ["NAMED", "PAIRS", "PLAIN_TYPES", "outcome", "remedy_of_default", "remedy_of_union", "unreadable"]

PLAIN_TYPES: Final = (
    "Use types that pydantic can write as JSON and read again: models, dataclasses, plain values. What has a life of its own "
    "is injected."
)
NAMED: Final = (
    "Write the model that is meant; of several, a union that a field tells apart: Field(discriminator='kind')."
)
PAIRS: Final = "Use texts as keys, or a list of models that have the key as a field."


def outcome(witness: Witness, kind: str = "") -> str:
    """What becomes of it. ``kind``: what it is, if that is more than a value."""
    if kind:
        value = f"the {kind} {shown(witness.value)}"
    else:
        value = f"the {_told(witness.value)}" if type(witness.value) in (str, int) else _told(witness.value)
    return f"{value} {witness.error or f'would be read back as {_told(witness.loaded)}'}"


def _told(value: Any) -> str:
    """A value, and what it is of."""
    text, name = shown(value), type(value).__name__
    return text if value is None or name in text else f"{name} {text}"


def remedy_of_default(default: Any, stays: bool) -> str:
    """What to write instead of a default that does not come back; ``stays``: also where it is validated."""
    if default is None:
        return "Add `| None`."
    if stays:
        return f"Annotate the {type(default).__qualname__} that it is, or give it a list."
    return "Give it a default of its type, or validate_default=True."


def remedy_of_union(witness: Witness) -> str:
    """What to write instead of a union whose members look alike."""
    if (
        hasattr(witness.value, "__dict__")
        and not isinstance(witness.value, type)
        and hasattr(witness.loaded, "__dict__")
    ):
        return (
            "Give each a field that tells them apart, such as kind: Literal['a'] = 'a', and the union "
            "Field(discriminator='kind')."
        )
    return "Annotate the one that is meant, or a model for each, told apart by a Literal field."


def unreadable(schema: Schema) -> str:
    """What nobody reads."""
    match schema["type"]:
        case "callable":
            return "is a callable, which cannot be read from JSON"
        case "generator":
            return "is an iterator, which does not come back equal"
    name = getattr(schema["cls"], "__qualname__", schema["cls"])
    if schema["type"] == "is-subclass":
        return f"is a class, {name} or one below it, which cannot be read from JSON"
    return f"is {name}, which cannot be read from JSON"
