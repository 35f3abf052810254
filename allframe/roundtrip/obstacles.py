"""What keeps values of a type from being stored as JSON and read back equal: all of it, with the way to each.

A type is refused only for values that it certainly can have. What no reader takes (a callable) is seen in pydantic's
schema of the type; what depends on pydantic's choice is tried with samples (`allframe.roundtrip.probing`). Below the user's
own code, which may mend or refuse anything, nothing is decided but what cannot be read at all.

The way to a part is written as in Python: ``lines[*].price`` is the price of any line, ``rates.keys()`` any key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_core import SchemaError

from allframe.roundtrip.facts import (
    KEYS,
    TIMES,
    TYPES,
    are_apart,
    is_fixed,
    is_secret,
    is_unreadable,
    names_no_fields,
    writes_itself,
)
from allframe.roundtrip.probing import Prober, Witness, has_own_code
from allframe.roundtrip.schemas import Schema, fields_of, members_of
from allframe.roundtrip.spelling import spell
from allframe.roundtrip.words import NAMED, PAIRS, PLAIN_TYPES, outcome, remedy_of_default, remedy_of_union, unreadable

__all__ = ["Obstacle", "find_obstacles"]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that stands in the way."""

    #: The part that it is about, such as ``lines[*].price``; empty for all of it.
    path: str
    #: What was found, and why it would not come back.
    text: str
    #: What to write instead.
    remedy: str


def find_obstacles(schema: Schema, config: Any, *, ignores: Callable[[str, Any], bool] | None = None) -> list[Obstacle]:
    """Everything in a core schema that stands in the way, each once.

    ``config``: the core config that the schema is built with. ``ignores``: whether a value at a path is stored in
    another way than by this schema.
    """
    walk = _Walk(config, ignores or (lambda path, value: False))
    walk.visit(schema, _Place("", config))
    return walk.found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the schema we are."""

    path: str
    #: The core config that holds here.
    config: Any
    #: Whether the user's code stands above: it may refuse any value, or write it in its own way.
    is_open: bool = False
    #: Whether pydantic has validated what stands here: what is in a model, not what is in a dataclass or returned.
    is_validated: bool = False
    #: Whether its fields never change.
    is_frozen: bool = False
    #: Whether another member of a union may read what this one cannot.
    is_choice: bool = False

    def at(self, step: str) -> _Place:
        return replace(self, path=(self.path + step).removeprefix("."))

    def within(self, step: str) -> _Place:
        return replace(self.at(step), is_choice=False)


class _Walk:
    def __init__(self, config: Any, ignores: Callable[[str, Any], bool]) -> None:
        self.found: list[Obstacle] = []
        self._root_config = config
        self._ignores = ignores
        self._definitions: dict[str, Schema] = {}
        self._seen: set[tuple[str, bool, bool]] = set()
        self._prober = Prober(self._definitions)

    def visit(self, schema: Schema, place: _Place) -> None:
        kind = schema["type"]
        if has_own_code(schema) or writes_itself(schema):
            place = replace(place, is_open=True)
        if visit := _VISITS.get(kind):
            visit(self, schema, place)

    def add(self, place: _Place, text: str, remedy: str) -> None:
        obstacle = Obstacle(place.path, text, remedy)
        if obstacle not in self.found:
            self.found.append(obstacle)

    # --- what nobody reads ---

    def unreadable(self, schema: Schema, place: _Place) -> None:
        if not place.is_choice:
            self.add(place, unreadable(schema), PLAIN_TYPES)

    # --- what holds others ---

    def inside(self, schema: Schema, place: _Place) -> None:
        self.visit(schema["schema"], place)

    def json(self, schema: Schema, place: _Place) -> None:
        if is_secret(schema, "Secret") and not place.is_open:
            self.secret(schema, place)
        self.visit(schema["json_schema"], place)

    def strict(self, schema: Schema, place: _Place) -> None:
        self.visit(schema["strict_schema"], place)

    def chain(self, schema: Schema, place: _Place) -> None:
        self.visit(schema["steps"][0], place)  # the others read what the first has made

    def after(self, schema: Schema, place: _Place) -> None:
        self.visit(schema["schema"], replace(place, is_open=True))

    def definitions(self, schema: Schema, place: _Place) -> None:
        self._definitions.update((definition["ref"], definition) for definition in schema["definitions"])
        self.visit(schema["schema"], place)

    def ref(self, schema: Schema, place: _Place) -> None:
        place = replace(place, is_choice=place.is_choice or "serialization" in schema)
        key = schema["schema_ref"], place.is_open, place.is_choice
        if key not in self._seen and schema["schema_ref"] in self._definitions:
            self._seen.add(key)
            # A definition does not know who refers to it, so the config is that of the whole.
            self.visit(self._definitions[schema["schema_ref"]], replace(place, config=self._root_config))

    def items(self, schema: Schema, place: _Place) -> None:
        items = schema.get("items_schema")
        if items is not None:
            if schema["type"] in ("set", "frozenset") and self._is_unhashable(items):
                self.add(
                    place,
                    f"is a {schema['type']} of {spell(items, self._definitions)}, which cannot be hashed: it is never read",
                    "Write a list, or make its items hashable: a model with frozen=True, a tuple.",
                )
            self.visit(items, place.within("[*]"))

    def tuples(self, schema: Schema, place: _Place) -> None:
        for i, item in enumerate(schema["items_schema"]):
            self.visit(item, place.within("[*]" if i == schema.get("variadic_item_index") else f"[{i}]"))

    def objects(self, schema: Schema, place: _Place) -> None:
        keys, values = schema.get("keys_schema"), schema.get("values_schema")
        if keys is not None:
            self._keys(keys, place.within(".keys()"))
        if values is not None:
            self.visit(values, place.within("[*]"))

    def model(self, schema: Schema, place: _Place) -> None:
        if names_no_fields(schema) and not (place.is_open or place.is_choice):
            self.add(place, "is BaseModel, which names no fields", NAMED)
        config = schema.get("config", None if schema["type"] == "model" else place.config)
        is_model = schema["type"] == "model"
        is_frozen = not is_model and schema["cls"].__dataclass_params__.frozen
        inner = replace(place, config=config, is_choice=False, is_validated=is_model, is_frozen=is_frozen)
        self.visit(schema["schema"], inner)

    def fields(self, schema: Schema, place: _Place) -> None:
        config = schema.get("config", place.config)
        for name, field in fields_of(schema).items():
            step = f"[{name!r}]" if schema["type"] == "typed-dict" else f".{name}"
            self._field(field, replace(place.at(step), config=config))

    def arguments(self, schema: Schema, place: _Place) -> None:
        for argument in schema["arguments_schema"].get("arguments_schema", ()):
            self.visit(argument["schema"], place.at(f".{argument['name']}"))

    # --- what comes back as something else ---

    def secret(self, schema: Schema, place: _Place) -> None:
        if self._ask(self._prober.part, schema, place) is not None:
            self.add(place, "is a Secret of its own, which is stored as asterisks", "Write SecretStr, or SecretBytes.")

    def moment(self, schema: Schema, place: _Place) -> None:
        if not TIMES.isdisjoint(place.config or ()) and (witness := self._ask(self._prober.part, schema, place)):
            self.add(
                place,
                f"is {spell(schema)}, and the config of its model writes it so that {outcome(witness)}",
                "Leave " + ", ".join(sorted(TIMES.intersection(place.config))) + " out of the model_config.",
            )

    def raw(self, schema: Schema, place: _Place) -> None:
        config = place.config or {}
        spelling = config.get("ser_json_bytes", "utf8")
        if spelling == config.get("val_json_bytes", "utf8") and spelling in ("base64", "hex"):
            return
        if not place.is_open:
            found = "bytes that are no UTF-8 text are refused" if spelling == "utf8" else "it is read otherwise"
            self.add(
                place,
                f"is bytes, written as {spelling}: {found}",
                'Give its model model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64").',
            )

    def constant(self, schema: Schema, place: _Place) -> None:
        values = schema.get("members") or schema.get("expected") or ()
        if all(type(getattr(value, "value", value)) in (str, int) and isinstance(value, str | int) for value in values):
            return
        if schema["type"] == "enum" and all(type(value.value) in (str, int) for value in values):
            return
        if witness := self._ask(self._prober.value, schema, place, *values):
            value = witness.value
            if schema["type"] == "enum":
                remedy = "Give the enum's members values that JSON has: texts, or whole numbers."
            else:
                remedy = "Write the texts or numbers themselves, or annotate the enum."
            self.add(place, f"can be {value!r}, and {outcome(witness)}", remedy)

    def union(self, schema: Schema, place: _Place) -> None:
        members = members_of(schema)
        if schema["type"] == "union" and not place.is_open and not are_apart(members, self._definitions):
            self._confused(schema, members, place)
        hopeless = all(is_unreadable(member) for member in members)
        for member in members:
            self.visit(member, place if hopeless else replace(place, is_choice=True))

    def default(self, schema: Schema, place: _Place) -> None:
        inner = schema["schema"]
        if "default" in schema and not place.is_open and not self._is_of(schema["default"], inner):
            validated = schema.get("validate_default", (place.config or {}).get("validate_default"))
            default = schema["default"]
            if self._ask(self._prober.value, inner, place, default):
                # Validation makes most of them what is meant, and leaves the tuple of a Sequence as it is.
                stays = self._prober.keeps(inner, place.config, default)
                if stays or not validated:
                    # The default itself is not shown: it may be a secret.
                    told = "None" if default is None else f"of type {type(default).__qualname__}"
                    self.add(
                        place,
                        f"is {spell(inner, self._definitions)}, and its default is {told}, which would not come back",
                        remedy_of_default(default, stays),
                    )
        self.visit(inner, place)

    def _field(self, field: Schema, place: _Place) -> None:
        schema = field["schema"]
        never_read = field.get("serialization_exclude"), field.get("init") is False and not place.is_frozen
        if not any(never_read):
            self.visit(schema, place)
        elif not place.is_open and not has_own_code(schema) and not is_fixed(schema):
            what = (
                "exclude=True, so its value is not stored"
                if never_read[0]
                else "init=False, so its value is not read back"
            )
            self.add(place, f"has {what}", "Take that away, or make it a property of what is stored.")

    def _keys(self, schema: Schema, place: _Place) -> None:
        if schema["type"] in KEYS:
            return
        name = spell(schema, self._definitions)
        if self._is_unhashable(schema):
            self.add(place, f"are {name}, which cannot be hashed", PAIRS)
        elif is_secret(schema.get("strict_schema", schema)):
            self.add(place, "are secrets, and keys are written as asterisks", PAIRS)
        elif witness := self._ask(self._prober.keys, schema, place):
            self.add(place, f"are {name}, and JSON has only texts as keys: {outcome(witness, 'key')}", PAIRS)

    def _confused(self, schema: Schema, members: list[Schema], place: _Place) -> None:
        path = place.path
        try:
            witness = self._prober.union(
                schema, place.config, validated=place.is_validated, ignores=lambda value: self._ignores(path, value)
            )
        except SchemaError:
            return
        if witness is not None:
            text = f"is {spell(schema, self._definitions)}, and both may look alike in JSON: {outcome(witness)}"
            self.add(place, text, remedy_of_union(witness))

    def _ask(
        self, question: Callable[..., Witness | None], schema: Schema, place: _Place, *values: Any
    ) -> Witness | None:
        """What the prober answers; with values, for the first of them that does not come back."""
        if place.is_open:
            return None
        try:
            if not values:
                return question(schema, place.config)
            return next((found for value in values if (found := question(schema, place.config, value))), None)
        except SchemaError:  # a part that does not stand alone
            return None

    def _is_of(self, default: Any, schema: Schema) -> bool:
        """Whether a default is certainly of the type: most are."""
        kind = schema["type"]
        if kind == "nullable":
            return default is None or self._is_of(default, schema["schema"])
        if kind == "enum":
            return isinstance(default, schema["cls"])
        return kind == "any" or (default is not None and type(default) is TYPES.get(kind)) or default in ([], {})

    def _is_unhashable(self, schema: Schema, depth: int = 0) -> bool:
        """Whether no value of it can be hashed."""
        match schema["type"]:
            case "list" | "dict" | "set" | "typed-dict" | "deque" | "ordered-dict" | "counter":
                return True
            case "model" | "dataclass":
                return schema["cls"].__hash__ is None
            case "tuple":
                return schema.get("variadic_item_index") is None and any(
                    map(self._is_unhashable, schema["items_schema"])
                )
            case "union" | "tagged-union":
                return all(map(self._is_unhashable, members_of(schema)))
            case "definition-ref":
                target = self._definitions.get(schema["schema_ref"])
                return target is not None and depth < 3 and self._is_unhashable(target, depth + 1)
        return False


_VISITS: Final[dict[str, Callable[[_Walk, Schema, _Place], None]]] = {
    **dict.fromkeys(("callable", "generator", "is-instance", "is-subclass"), _Walk.unreadable),
    **dict.fromkeys(("nullable", "custom-error"), _Walk.inside),
    "default": _Walk.default,
    "json-or-python": _Walk.json,
    "lax-or-strict": _Walk.strict,
    "chain": _Walk.chain,
    "function-after": _Walk.after,
    "definitions": _Walk.definitions,
    "definition-ref": _Walk.ref,
    **dict.fromkeys(("list", "deque", "set", "frozenset"), _Walk.items),
    "tuple": _Walk.tuples,
    **dict.fromkeys(("dict", "ordered-dict", "counter"), _Walk.objects),
    **dict.fromkeys(("model", "dataclass"), _Walk.model),
    **dict.fromkeys(("model-fields", "dataclass-args", "typed-dict", "named-tuple"), _Walk.fields),
    "call": _Walk.arguments,
    **dict.fromkeys(("union", "tagged-union"), _Walk.union),
    **dict.fromkeys(("enum", "literal"), _Walk.constant),
    **dict.fromkeys(("timedelta", "datetime", "date", "time"), _Walk.moment),
    "bytes": _Walk.raw,
}
