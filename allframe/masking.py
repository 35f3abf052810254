"""Secrets: what is one, how it is stored, and how it is kept from eyes.

A value is secret if its type is pydantic's ``SecretStr`` or ``SecretBytes``, or its field says
``json_schema_extra={"secret": True}``. (``Secret[...]`` leaves no trace in a schema, and is refused like any value that
does not come back equal.) In the store it stands in clear, for a saga that goes on after a crash needs it;
masking is for eyes, and `allframe.events.encryption` for files. Which parts of a stored value are secret can be told from
its JSON schema alone, without the class.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, ForwardRef, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

__all__ = [
    "MASK",
    "has_secrets",
    "hidden_args",
    "hide_inputs",
    "hides",
    "mask",
    "may_hold_secrets",
    "redact",
    "reveal",
    "secret_texts",
    "shown",
]

#: What stands for a secret; pydantic's own word for it.
MASK: Final = "*" * 10
#: Shorter secrets are not looked for in texts: too much would look like them.
SHORTEST: Final = 4

Schema = Mapping[str, Any]
_LISTS = (list, tuple, deque, set, frozenset)
_SECRETS = (SecretStr, SecretBytes)


# --- by the JSON schema ----------------------------------------------------------------------------------------------


def mask(value: Any, schema: Schema) -> Any:
    """``value``, as it stands in JSON, with `MASK` in place of every secret. ``None`` stays.

    Where a union leaves open which of its members it is, what is secret in one of them is masked.
    """
    return _visit(value, [schema], schema, lambda secret: None if secret is None else MASK)


def secret_texts(value: Any, schema: Schema) -> set[str]:
    """Every secret in ``value``, as it stands in JSON, as text; those that are long enough to be found in a text."""
    found: set[str] = set()

    def take(secret: Any) -> Any:
        found.update(_texts(secret))
        return secret

    _visit(value, [schema], schema, take)
    return {text for text in found if len(text) >= SHORTEST}


def has_secrets(schema: Any) -> bool:
    """Whether values of this JSON schema can have secrets."""
    if isinstance(schema, Mapping):
        return _is_secret(schema) or any(map(has_secrets, schema.values()))
    return isinstance(schema, list) and any(map(has_secrets, schema))


def _is_secret(schema: Schema) -> bool:
    is_password = schema.get("writeOnly") is True and schema.get("format") == "password"
    # A type that could not be described may be anything.
    return is_password or schema.get("secret") is True or set(schema) == {"python"}


def _visit(value: Any, schemas: list[Schema], root: Schema, leaf: Callable[[Any], Any]) -> Any:
    """A copy of ``value``, which is of one of ``schemas``, with ``leaf`` of each secret in its place."""
    nodes = list(_concrete(schemas, root))
    if any(_is_secret(node) or has_secrets(node.get("contentSchema")) for node in nodes):
        return leaf(value)
    if isinstance(value, dict):
        return {key: _visit(item, list(_of_key(key, nodes)), root, leaf) for key, item in value.items()}
    if isinstance(value, list):
        return [_visit(item, list(_of_item(i, nodes)), root, leaf) for i, item in enumerate(value)]
    return value


def _concrete(schemas: list[Schema], root: Schema) -> Iterator[Schema]:
    """The schemas and everything that they refer to or are unions of."""
    seen: set[int] = set()
    todo = list(schemas)
    while todo:
        schema = todo.pop()
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        todo += [member for key in ("anyOf", "oneOf", "allOf") for member in schema.get(key, ())]
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
        if name:
            todo.append(root.get("$defs", {}).get(name, {"secret": True}))


def _of_key(key: str, nodes: list[Schema]) -> Iterator[Schema]:
    for node in nodes:
        if key in node.get("properties", {}):
            yield node["properties"][key]
            continue
        yield from node.get("patternProperties", {}).values()
        if isinstance(node.get("additionalProperties"), Mapping):
            yield node["additionalProperties"]


def _of_item(index: int, nodes: list[Schema]) -> Iterator[Schema]:
    for node in nodes:
        prefix = node.get("prefixItems", ())
        if index < len(prefix):
            yield prefix[index]
        elif isinstance(node.get("items"), Mapping):
            yield node["items"]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from chain.from_iterable(map(_texts, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(_texts, value))
    elif value is not None and not isinstance(value, bool):
        yield str(value)
        yield from _as_bytes(str(value))


def _as_bytes(text: str) -> Iterator[str]:
    """How the bytes would look that may be stored as ``text``; those of a `SecretBytes` are stored as base64."""
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        return
    yield from (repr(data)[2:-1], data.hex(), data.decode(errors="ignore"))


# --- in texts --------------------------------------------------------------------------------------------------------


def redact(text: str, secrets: set[str]) -> str:
    """``text`` with `MASK` in place of each of ``secrets``, also as Python or JSON would spell it."""
    spelt = {form for secret in secrets for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])}
    for form in sorted(spelt, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


# --- by the value ----------------------------------------------------------------------------------------------------


def reveal(value: Any, dumped: Any, config: Mapping[str, Any]) -> Any:
    """``dumped``, pydantic's JSON of ``value`` by field names, with its secrets in clear.

    ``config``: that of the model that ``value`` stands in, for the spelling of bytes.
    """
    if isinstance(value, _SECRETS):
        return _in_json(value.get_secret_value(), config)
    if isinstance(value, RootModel):
        return reveal(value.root, dumped, value.model_config)
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        # iter(): a field may be called "keys", and dict() would call it
        inside = {**dict(iter(value)), **(value.__pydantic_extra__ or {})}
        return {key: reveal(inside.get(key), item, value.model_config) for key, item in dumped.items()}
    if dataclasses.is_dataclass(value) and isinstance(dumped, dict):
        config = getattr(value, "__pydantic_config__", config)
        return {key: reveal(getattr(value, key, None), item, config) for key, item in dumped.items()}
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: reveal(item, seen, config) for item, (key, seen) in pairs}
    if isinstance(value, _LISTS) and isinstance(dumped, list) and len(value) == len(dumped):
        return [reveal(item, seen, config) for item, seen in zip(value, dumped, strict=True)]
    return dumped


def _in_json(secret: str | bytes, config: Mapping[str, Any]) -> str:
    if isinstance(secret, str):
        return secret
    spelling = config.get("ser_json_bytes", "utf8")
    if spelling == "base64":
        return base64.urlsafe_b64encode(secret).decode()
    return secret.hex() if spelling == "hex" else secret.decode()


def shown(value: Any) -> str:
    """The ``repr`` of a value, with `MASK` in place of each secret in it, also of models that do not hide them."""
    if isinstance(value, BaseModel):
        return _called(type(value).__name__, hidden_args(value, value.__repr_args__()))
    if type(value) in (dict, list, tuple):
        return _plain(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _has_usual_repr(type(value)):
        return _called(type(value).__qualname__, _fields_of(value))
    return repr(value)


def _called(name: str, args: Iterable[tuple[str | None, Any]]) -> str:
    return f"{name}({', '.join(f'{key}={arg!r}' if key else repr(arg) for key, arg in args)})"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {shown(item)}' for key, item in value.items())}}}"
    items = ", ".join(map(shown, value))
    if isinstance(value, list):
        return f"[{items}]"
    return f"({items},)" if len(value) == 1 else f"({items})"


def _has_usual_repr(cls: Any) -> bool:
    return bool(cls.__dataclass_params__.repr)


def _fields_of(value: Any) -> Iterator[tuple[str, Any]]:
    """What the ``repr`` of a dataclass shows, with secrets masked."""
    hints = _hints(type(value))
    for field in dataclasses.fields(value):
        if field.repr:
            secret = _annotates_secret(hints.get(field.name))
            yield field.name, MASK if secret else _Shown(getattr(value, field.name))


def _hints(cls: Any) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation that cannot be resolved may be anything
        return {}


def hidden_args(model: BaseModel, args: Any) -> Iterator[tuple[str | None, Any]]:
    """The ``__repr_args__`` of a model, with the secret ones masked, and those in them."""
    fields = type(model).__pydantic_fields__
    for name, value in args:
        secret = name in fields and hides(fields[name]) and value is not None
        yield name, MASK if secret else _Shown(value)


def hide_inputs(cls: type[BaseModel]) -> None:
    """Keep pydantic from quoting a bad value of a model that may hold secrets. Call it when the model is complete."""
    if not cls.model_config.get("hide_input_in_errors") and may_hold_secrets(cls):
        cls.model_config["hide_input_in_errors"] = True
        cls.model_rebuild(force=True, raise_errors=False)


class _Shown:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return shown(self._value)


def hides(field: FieldInfo) -> bool:
    """Whether a field says that it is secret, or that something right in its annotation is."""
    return _says_secret(field) or _annotates_secret(field.annotation)


def may_hold_secrets(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether values of a type can have secrets, so far as its annotations tell; yes, where they are not resolved yet."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if isinstance(annotation, list):  # the parameters of a callable
        return any(may_hold_secrets(part, seen) for part in annotation)
    if isinstance(annotation, type):
        return annotation not in seen and _may_class(annotation, seen | {annotation})
    return _annotates_secret(annotation) or any(may_hold_secrets(part, seen) for part in _parts(annotation))


def _may_class(cls: Any, seen: frozenset[Any]) -> bool:
    if issubclass(cls, _SECRETS):
        return True
    if issubclass(cls, BaseModel):
        # Not model_fields: a definition that is about to be refused may hide it. BaseModel itself has none.
        fields = getattr(cls, "__pydantic_fields__", {}).values()
        return any(hides(field) or may_hold_secrets(field.annotation, seen) for field in fields)
    if dataclasses.is_dataclass(cls):
        hints = _hints(cls)
        return any(may_hold_secrets(hints.get(field.name, ""), seen) for field in dataclasses.fields(cls))
    return any(may_hold_secrets(part, seen) for part in _parts(cls))


def _parts(annotation: Any) -> Iterator[Any]:
    """The types in a generic one; what stands in ``Literal`` or beside a type in ``Annotated`` is none."""
    args = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        args = args[:1]
    return (part for part in args if not isinstance(part, str) or get_origin(annotation) is not Literal)


def _says_secret(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret") is True


def _annotates_secret(annotation: Any) -> bool:
    about = getattr(annotation, "__metadata__", ())
    said = any(isinstance(item, FieldInfo) and _says_secret(item) for item in about)
    return said or any(map(_annotates_secret, get_args(annotation)))
