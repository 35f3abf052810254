"""AF109 of a class as a whole: a class keyword that there is not, and a configuration with which its fields could change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from allframe.errors import Problem
from allframe.naming import nearest
from allframe.saga.definition import Definition
from allframe.source import place_of

__all__ = ["fields_stay_as_they_are", "unknown_keywords"]


def unknown_keywords(cls: type, kind: str, given: Iterable[str], known: Sequence[str]) -> list[Problem]:
    """The problem of each class keyword in ``given``, which no class of this ``kind`` takes."""
    there_are = ", ".join(known)
    return [_unknown(cls, kind, keyword, nearest(keyword, known), there_are) for keyword in given]


def _unknown(cls: type, kind: str, keyword: str, near: tuple[str, ...], there_are: str) -> Problem:
    hint = f" Did you mean {near[0]!r}?" if near else ""
    text = f"It has the class keyword {keyword!r}, which no {kind} takes. It takes: {there_are}.{hint}"
    return Problem("AF109", text, place_of(cls), near=near)


def fields_stay_as_they_are(definition: Definition) -> Iterator[Problem]:
    """AF109: a configuration of pydantic's that takes away what every saga and every step relies on."""
    cls = definition.cls
    above = [base for base in cls.__mro__[1:] if "__allframe_definition__" in vars(base)]
    for name, is_wrong, why in _SETTINGS:
        value = cls.model_config.get(name)
        if is_wrong(value) and not any(is_wrong(base.model_config.get(name)) for base in above):
            yield Problem("AF109", f"It is configured with {name}={value!r}. {why}", definition.where)


def _is_not_true(value: Any) -> bool:
    return value is not True


def _is_allow(value: Any) -> bool:
    return bool(value == "allow")


_SETTINGS: Final = (
    (
        "frozen",
        _is_not_true,
        "Its fields are stored when the saga begins, and must not change while it runs. Take that away.",
    ),
    (
        "extra",
        _is_allow,
        "What is given besides its fields is checked by nothing, and need not come back as it was. Declare a field for it, "
        "such as `notes: dict[str, str]`, and take that away.",
    ),
)
