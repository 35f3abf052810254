"""What is kept from eyes in a saga: its secrets in the errors that it records, in its input and in its outputs.

The stored definition has the JSON schemas of input and outputs, so a program without the saga's class masks like one that
has it. An output that is an event is described so far as the step's annotation names the event's class: what the schema
does not know is masked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic_core import from_json

from allframe.errors import ErrorInfo
from allframe.masking import MASK, mask, redact, secret_texts
from allframe.saga.graph import SagaGraph

__all__ = ["shown_input", "shown_output", "without_secrets"]

R = TypeVar("R")


def without_secrets(record: R, graph: SagaGraph, saga: Any, outputs: Iterable[tuple[int, bytes]]) -> R:
    """``record``, with its error rid of the secrets of the saga's input and of the ``outputs`` that it has so far.

    ``outputs``: the index of each step that has one, and what is stored of it.
    """
    error: ErrorInfo | None = getattr(record, "error", None)
    if error is None or not graph.hides:
        return record
    data, _ = graph.model.store(saga, "The input")
    secrets = secret_texts(from_json(data), graph.model.schema())
    for index, output in outputs:
        schema = graph.description["steps"][index]["output"]
        secrets |= {text for value in _values(from_json(output)) for text in secret_texts(value, schema)}
    trace = None if error.traceback is None else _redacted(error.traceback, secrets)
    clean = ErrorInfo(error.type, _redacted(error.message, secrets), trace)
    changed: R = dataclasses.replace(record, error=clean)  # type: ignore[type-var]
    return changed


def shown_input(description: Mapping[str, Any], data: bytes) -> Any:
    """The input of a saga, as it stands in JSON, with its secrets masked. ``description``: its stored definition."""
    return mask(from_json(data), description["input"])


def shown_output(description: Mapping[str, Any], step: str, data: bytes, form: str) -> Any:
    """What a step returned, as it stands in JSON, with its secrets masked."""
    schema = next((each["output"] for each in description["steps"] if each["name"] == step), {"python": ""})
    content = from_json(data)
    if form == "value":
        return mask(content, schema)
    return [_event(each, schema) for each in content] if form == "events" else _event(content, schema)


def _event(content: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    described = mask(content["data"], schema)
    known = _described(schema)
    data = {key: value if key in known else MASK for key, value in described.items()}
    return {"type": content["type"], "version": content["version"], "data": data}


def _described(schema: Any) -> set[str]:
    """The names of all fields that a schema describes."""
    if isinstance(schema, Mapping):
        own = schema.get("properties")
        names = set(own) if isinstance(own, Mapping) else set()
        return names.union(*map(_described, schema.values()))
    return set().union(*map(_described, schema)) if isinstance(schema, list) else set()


def _values(content: Any) -> list[Any]:
    """A value, and the fields of each event that it may be the stored form of."""
    items = content if isinstance(content, list) else [content]
    return [content, *(item["data"] for item in items if isinstance(item, dict) and "data" in item)]


def _redacted(text: str, secrets: set[str]) -> str:
    """``text`` without the secrets, and without what is left of one where a long text was cut in the middle."""
    clean = redact(text, secrets)
    head, cut, tail = clean.partition("\n[… ")
    if not cut:
        return clean
    note, end, tail = tail.partition(" …]\n")
    for secret in secrets:
        for size in range(len(secret) - 1, 0, -1):
            head = head[:-size] + MASK if head.endswith(secret[:size]) and size > 1 else head
            tail = MASK + tail[size:] if tail.startswith(secret[-size:]) and size > 1 else tail
    return f"{head}{cut}{note}{end}{tail}"
