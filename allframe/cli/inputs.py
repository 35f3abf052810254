"""INPUT: what the sagas are made from, line by line, with the id that each will have for ever.

INPUT is a JSON object, a ``.json`` file (an object, or an array of them), a ``.jsonl`` file (an object a line), or
``-`` for standard input, which may be either. Blank lines are skipped. Each line stands for itself: one that cannot be
used is reported with its number, and the others run.

The key ``$id`` names the saga. A line without one gets ``<saga>-<hash of its canonical input>-<occurrence>``, so that
running a file again goes on with the same sagas, and two equal lines are two sagas.
"""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, AliasPath, ValidationError
from pydantic_core import from_json, to_json

from allframe import Saga
from allframe.cli.exits import Stop
from allframe.errors import PayloadError
from allframe.events.backend import new_id
from allframe.masking import mask, redact, secret_texts
from allframe.payload import canonical

__all__ = ["BadLine", "Inputs", "Line", "read_inputs", "shown_json"]


@dataclass(frozen=True, slots=True)
class Line:
    """One saga to run."""

    #: Where it stands: the line of a file, the item of an array, 1 for an object; from 1.
    number: int
    id: str
    saga: Saga


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that no saga can be made from."""

    number: int
    #: The line's ``$id``, so far as it has one.
    id: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Inputs:
    #: What the input is called in messages.
    source: str
    #: Whether it has lines; if not, messages name no line.
    many: bool
    #: One for each id, in order.
    lines: tuple[Line, ...]
    bad: tuple[BadLine, ...]

    def place(self, number: int) -> str:
        """How a message names a line."""
        return f"{self.source}, line {number}" if self.many else self.source


def read_inputs(text: str, saga: type[Saga], *, new_ids: bool = False) -> Inputs:
    """Everything that INPUT ``text`` holds, validated as inputs of ``saga``.

    ``new_ids``: lines without ``$id`` get an id that was never used.

    Raises:
        Stop: the input cannot be read at all.
    """
    source, many, documents = _documents(text)
    reader = _Reader(saga, new_ids)
    for number, document in documents:
        reader.take(number, document)
    return Inputs(source, many, tuple(reader.lines), tuple(reader.bad))


class _Unusable(Exception):
    """Why a line cannot be used."""

    def __init__(self, message: str, saga_id: str | None = None) -> None:
        super().__init__(message)
        self.saga_id = saga_id


class _Reader:
    def __init__(self, saga: type[Saga], new_ids: bool) -> None:
        self._saga = saga
        self._new_ids = new_ids
        self._occurrences: Counter[str] = Counter()
        self._by_id: dict[str, tuple[int, Saga]] = {}
        self.lines: list[Line] = []
        self.bad: list[BadLine] = []

    def take(self, number: int, document: bytes) -> None:
        try:
            self._take(number, document)
        except _Unusable as error:
            self.bad.append(BadLine(number, error.saga_id, str(error)))

    def _take(self, number: int, document: bytes) -> None:
        fields = _parse(document)
        given = _given_id(fields)
        saga = _validate(self._saga, fields, given)
        # Secrets stand masked in it: an id is shown, and what it is made of could be guessed.
        saga_id = given if given is not None else self._id_for(canonical(shown_json(saga)))
        before = self._by_id.get(saga_id)
        if before is None:
            self._by_id[saga_id] = (number, saga)
            self.lines.append(Line(number, saga_id, saga))
        elif before[1] != saga:
            raise _Unusable(
                f"its $id {saga_id!r} is that of line {before[0]}, which has another input. One id is one saga: give "
                "this line an id of its own.",
                saga_id,
            )
        # The same id with the same input is the same saga, asked for twice.

    def _id_for(self, data: bytes) -> str:
        if self._new_ids:
            return str(uuid.UUID(bytes=new_id()))
        digest = hashlib.sha256(data).hexdigest()[:16]
        self._occurrences[digest] += 1
        return f"{self._saga.graph.saga[:160]}-{digest}-{self._occurrences[digest]}"


# --- from INPUT to documents -----------------------------------------------------------------------------------------


def _documents(text: str) -> tuple[str, bool, Iterator[tuple[int, bytes]]]:
    if text == "-":
        return _either("standard input", sys.stdin.buffer.read())
    if text.lstrip().startswith("{"):
        return "the input", False, iter([(1, text.encode("utf-8", "surrogateescape"))])
    if not text.strip():
        raise Stop("INPUT is empty. It is a JSON object, a .json or .jsonl file, or - for standard input.")
    path = Path(text)
    data = _read(path)
    if path.suffix.lower() == ".json":
        return _whole(str(path), data)
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        return str(path), True, _lines(data)
    return _either(str(path), data)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, names, n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise Stop(
            f"There is no file {path}.{hint} INPUT is a JSON object, a .json or .jsonl file, or - for standard input."
        ) from None
    except (OSError, ValueError) as error:
        raise Stop(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _either(source: str, data: bytes) -> tuple[str, bool, Iterator[tuple[int, bytes]]]:
    """One document over several lines, or a document a line."""
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        value = None
    return _whole(source, data) if isinstance(value, (dict, list)) else (source, True, _lines(data))


def _whole(source: str, data: bytes) -> tuple[str, bool, Iterator[tuple[int, bytes]]]:
    try:
        value = _load(data)
    except _Unusable as error:
        raise Stop(f"{source} cannot be used: {error}") from error
    if isinstance(value, list):
        items = ((number, json.dumps(item).encode()) for number, item in enumerate(value, start=1))
        return source, True, items
    return source, False, iter([(1, data)])


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    # By b"\n" alone: str.splitlines would also split at characters that JSON texts may hold.
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


# --- from a document to a saga ---------------------------------------------------------------------------------------


def _parse(document: bytes) -> dict[str, Any]:
    value = _load(document)
    if not isinstance(value, dict):
        raise _Unusable(f"expected a JSON object with the saga's fields, found {_kind(value)}.")
    return value


def _load(document: bytes) -> Any:
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unusable(f"it is not UTF-8: byte {document[error.start]:#04x} at {error.start + 1}.") from error
    try:
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if "\n" not in text.strip() else f"line {error.lineno} column {error.colno}"
        raise _Unusable(f"it is no JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise _Unusable("it is nested too deeply.") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise _Unusable(f"it is no JSON that can be read: {error}.") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _Unusable(f"it has the key {twice!r} twice.")
    return found


def _no_constant(name: str) -> Any:
    raise _Unusable(f"it is no JSON: {name} is no number.")


def _given_id(fields: dict[str, Any]) -> str | None:
    if "$id" not in fields:
        return None
    saga_id = fields.pop("$id")
    if (
        not isinstance(saga_id, str)
        or not 1 <= len(saga_id) <= 200
        or not saga_id.isprintable()
        or saga_id.startswith("$")
    ):
        raise _Unusable(
            f"its $id is {_shown(saga_id)}. Expected 1 to 200 printable characters, the first of them not '$'."
        )
    return saga_id


def _validate(saga: type[Saga], fields: dict[str, Any], saga_id: str | None) -> Saga:
    _refuse_unknown_keys(saga, fields, saga_id)
    try:
        return saga.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        hides = saga.graph.model.hides
        found = "; ".join(_one_error(detail, hides) for detail in error.errors(include_url=False))
        raise _Unusable(f"{_without_secrets(found, saga, fields)}.", saga_id) from error
    except (ValueError, UnicodeEncodeError) as error:
        raise _Unusable(f"{_without_secrets(str(error), saga, fields)}.", saga_id) from error


def _one_error(detail: Any, hides: bool) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "the input"
    if detail["type"] == "missing":
        return f"{place} is missing"
    found = "" if hides else f", found {_shown(detail['input'])}"
    return f"{place}: {detail['msg']}{found}"


def _without_secrets(text: str, saga: type[Saga], fields: dict[str, Any]) -> str:
    """What a validator says, without the secrets that it may quote."""
    if not saga.graph.model.hides:
        return text
    return redact(text, secret_texts(fields, _schema(saga)))


def shown_json(saga: Saga) -> bytes:
    """The input as JSON by its aliases, with secrets masked."""
    data = saga.model_dump_json(by_alias=True).encode()
    return to_json(mask(from_json(data), _schema(type(saga)))) if type(saga).graph.model.hides else data


def _schema(saga: type[Saga]) -> dict[str, Any]:
    try:
        return saga.graph.model.schema(by_alias=True)
    except PayloadError:
        return {"secret": True}  # nobody can say what is in it


def _refuse_unknown_keys(saga: type[Saga], fields: dict[str, Any], saga_id: str | None) -> None:
    """A misspelt name must not pass for a field that was left out."""
    if saga.model_config.get("extra") == "allow":
        return
    known: set[str] = set()
    for name, info in saga.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, (AliasChoices, AliasPath)):
            return  # which keys such an alias looks at is pydantic's affair
        known |= {name, *([alias] if alias else []), *([info.alias] if info.alias else [])}
    for key in fields:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"its fields are: {', '.join(saga.model_fields) or 'none'}."
            )
            raise _Unusable(f"{saga.__name__} has no field {key!r}: {hint}", saga_id)


def _kind(value: Any) -> str:
    names = {
        list: "an array",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
