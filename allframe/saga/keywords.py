"""What cannot be said of a class as a whole, or of its fields.

AF109: a class keyword that there is not, and a configuration with which fields could change; AF110: a field without a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic.fields import FieldInfo

from allframe.errors import Problem
from allframe.naming import nearest
from allframe.saga.definition import Definition
from allframe.source import place_of

__all__ = ["fields_stay_as_they_are", "unknown_keywords", "untyped_fields"]


def unknown_keywords(cls: type, kind: str, given: Iterable[str], known: Sequence[str]) -> list[Problem]:
    """The problem of each class keyword in ``given``, which no class of this ``kind`` takes."""
    there_are = ", ".join(known)
    return [_unknown(cls, kind, keyword, nearest(keyword, known), there_are) for keyword in given]


def _unknown(cls: type, kind: str, keyword: str, near: tuple[str, ...], there_are: str) -> Problem:
    hint = f" Did you mean {near[0]!r}?" if near else ""
    text = f"It has the class keyword {keyword!r}, which no {kind} takes. It takes: {there_are}.{hint}"
    return Problem("AF109", text, place_of(cls), near=near)


def untyped_fields(cls: type) -> list[Problem]:
    """AF110: values in the body of ``cls`` that look like the default of a field and have no annotation.

    Pydantic refuses them too. What else stands there without one, such as an object of the user's, is left to it.
    """
    annotated: Mapping[str, Any] = vars(cls).get("__annotations__", {})
    constants: set[str] = getattr(cls, "__class_vars__", set())
    config: Mapping[str, Any] = getattr(cls, "model_config", {})
    ignored = config.get("ignored_types", ())
    return [
        Problem("AF110", _untyped(name, value), place_of(cls), name)
        for name, value in vars(cls).items()
        if isinstance(value, _DEFAULTS) and not isinstance(value, ignored)
        if name[:1] != "_" and name not in {*annotated, *constants, "model_config"}
    ]


#: What may stand behind the name of a field.
_DEFAULTS: Final = (
    str,
    bytes,
    int,
    float,
    Decimal,
    date,
    timedelta,
    list,
    tuple,
    dict,
    set,
    frozenset,
    type(None),
    FieldInfo,
)


def _untyped(name: str, value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, FieldInfo):
        remedy = f"Annotate it, such as `{name}: int = Field(...)`."
    elif value is None:
        remedy = f"Annotate it, such as `{name}: int | None = None`; as a ClassVar if it is a constant."
    else:
        remedy = f"Annotate it, `{name}: {kind} = ...`; or as `ClassVar[{kind}]` if it is a constant."
    return f"{name!r} has a value and no type. A field is an input, which is checked and stored by its type. {remedy}"


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
