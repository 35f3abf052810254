"""What is said of an obstacle, and what a person is told to write instead."""

from __future__ import annotations

from typing import Any, Final

from allframe.masking import shown
from allframe.roundtrip.probing import Witness
from allframe.roundtrip.schemas import Schema

__all__ = ["PAIRS", "PLAIN_TYPES", "outcome", "remedy_of_union", "unreadable"]

PLAIN_TYPES: Final = (
    "Use types that pydantic can write as JSON and read again: models, dataclasses, plain values. What has a life of its own "
    "is injected."
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
    return f"is {getattr(schema['cls'], '__qualname__', schema['cls'])}, which cannot be read from JSON"
