"""A class with what it inherits."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, get_args, get_origin

from tests.mutants.kinds import MISSING
from tests.mutants.reading import UNREADABLE, Mark, Member, Text, Written
from tests.mutants.sources import bases

__all__ = ["Resolved", "roots"]


def roots(text: Text, cls: Written) -> set[str]:
    """The names of all classes above it, also of those that are not in the text."""
    found: set[str] = set()
    for name in bases(cls.node):
        found |= {name} | (roots(text, text.classes[name]) if name in text.classes else set())
    return found


class Resolved:
    """What one class has, its own and what is above it."""

    def __init__(self, text: Text, cls: Written) -> None:
        self.text, self.cls = text, cls

    @cached_property
    def bodies(self) -> list[Written]:
        """Its own body first, then those above it, the nearest first."""
        stand_ins: dict[str, type] = {}

        def stand_in(name: str) -> type:
            if name not in stand_ins:
                above = tuple(
                    stand_in(base) for base in bases(self.text.classes[name].node) if base in self.text.classes
                )
                stand_ins[name] = type(name, above, {})
            return stand_ins[name]

        return [self.text.classes[each.__name__] for each in stand_in(self.cls.name).__mro__ if each is not object]

    def _marked_names(self, cls: Written) -> list[str]:
        above = [self.text.classes[name] for name in bases(cls.node) if name in self.text.classes]
        names = list(dict.fromkeys(name for base in above for name in self._marked_names(base)))
        return names + [name for name, member in cls.members.items() if member.mark and name not in names]

    @cached_property
    def members(self) -> dict[str, Member]:
        """Every step and compensation: inherited ones keep their place, an override without a mark has the mark above."""
        found = {}
        for name in self._marked_names(self.cls):
            values = [body.members[name] for body in self.bodies if name in body.members]
            marks = next(value.marks for value in values if value.marks)
            found[name] = dataclasses.replace(values[0], marks=values[0].marks or marks)
        return found

    @cached_property
    def steps(self) -> dict[str, Member]:
        return {name: member for name, member in self.members.items() if _kind(member) == "step"}

    @cached_property
    def undoing(self) -> dict[str, Member]:
        return {name: member for name, member in self.members.items() if _kind(member) == "compensates"}

    @cached_property
    def fields(self) -> dict[str, ast.expr]:
        found: dict[str, ast.expr] = {}
        for body in reversed(self.bodies):
            found |= body.fields
        return found

    @cached_property
    def options(self) -> dict[str, Any]:
        """The keywords of the class, and those above it."""
        inherited: dict[str, Any] = {}
        for body in reversed(self.bodies):
            inherited |= body.keywords
        own = self.cls.keywords
        return {
            **inherited,
            "name": own.get("name"),
            "version": own.get("version", 1),
            "abstract": own.get("abstract", False),
        }

    @cached_property
    def abstract(self) -> bool:
        return bool(self.options["abstract"])

    @cached_property
    def scope(self) -> Mapping[str, Any]:
        """Names of types that stand in the bodies."""
        found: dict[str, Any] = {}
        for body in reversed(self.bodies):
            original = getattr(self.text.world, body.name, object)
            found |= {name: getattr(original, name) for name in body.nested if hasattr(original, name)}
        return found

    @cached_property
    def arguments(self) -> dict[Any, Any]:
        """What ``Resize[int]`` puts in the place of type variables."""
        found: dict[Any, Any] = {}
        for body in self.bodies:
            for base in body.node.bases:
                if isinstance(base, ast.Subscript) and isinstance(base.value, ast.Name) and base.value.id != "Generic":
                    variables = self._variables(base.value.id)
                    given = self.text.value(base.slice, self.scope)
                    found |= dict(zip(variables, given if isinstance(given, tuple) else (given,), strict=False))
        return found

    def _variables(self, name: str) -> tuple[Any, ...]:
        for base in self.text.classes[name].node.bases if name in self.text.classes else ():
            if isinstance(base, ast.Subscript) and ast.unparse(base.value) == "Generic":
                variables = self.text.value(base.slice)
                return variables if isinstance(variables, tuple) else (variables,)
        return ()

    def kind(self, annotation: ast.expr | None) -> Any:
        """The type that an annotation says; `MISSING`, or `UNREADABLE`."""
        if isinstance(annotation, ast.Constant) and annotation.value is None:
            return None
        found = self.text.value(annotation, self.scope)
        if found in (MISSING, UNREADABLE) or not self.arguments:
            return found
        return _substituted(found, self.arguments)

    def target(self, undo: Member) -> str | list[str]:
        """The name of the step that it undoes; the names that the function has, where it does not have just one."""
        mark = undo.mark
        assert mark is not None
        if mark.target is None or isinstance(mark.target, str):
            return mark.target or []
        names = [name for name, member in self.steps.items() if member.node is mark.target]
        return names[0] if len(names) == 1 else names


def _kind(member: Member) -> str:
    mark: Mark | None = member.mark
    return mark.kind if mark else ""


def _substituted(kind: Any, arguments: Mapping[Any, Any]) -> Any:
    variables = getattr(kind, "__parameters__", ())
    if kind in arguments:
        return arguments[kind]
    if not variables or not (get_origin(kind) or get_args(kind)):
        return kind
    return kind[tuple(arguments.get(variable, variable) for variable in variables)]
