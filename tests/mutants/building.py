"""The oracle on sagas that are built of step objects: the classes of the steps, and what they are put together to."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from tests.mutants.calling import argument_faults, default_faults, effects_in, shape_faults, types_of
from tests.mutants.faults import Fault, fault
from tests.mutants.kinds import is_storable
from tests.mutants.options import is_name, nonsense
from tests.mutants.outcomes import Step, implied_pivot, simulate
from tests.mutants.reading import UNREADABLE, Text, Written
from tests.mutants.resolved import Resolved, roots

__all__ = ["built_faults", "step_class_faults"]

_OPTIONS: Final = (
    "timeout",
    "retry",
    "unknown_on",
    "known_on",
    "compensation_timeout",
    "compensation_retry",
    "if_unknown",
    "readonly",
    "pivot",
    "repeatable",
    "idempotent",
    "abstract",
)
_TAKEN: Final = frozenset({*dir(BaseModel), "execute", "compensate", "step_name", "step_version"})


class _StepClass(Resolved):
    """One class of steps."""

    def faults(self) -> Iterator[Fault]:
        options, lines = self.options, self.cls.lines
        functions = {name: member for body in reversed(self.bodies) for name, member in body.members.items()}
        execute, compensate = functions.get("execute"), functions.get("compensate")
        if any(name in _TAKEN for name in self.fields):
            yield fault("lost", "AF115", lines)
        if options["name"] is not None and not is_name(options["name"]):
            yield fault("senseless", "AF119 AF109", lines)
        version = options["version"]
        if version is not UNREADABLE and (type(version) is not int or version < 1):
            yield fault("senseless", "AF119", lines)
        own = frozenset().union(lines, *(member.lines for member in (execute, compensate) if member))
        for _ in nonsense({name: options[name] for name in _OPTIONS if name in options}):
            yield fault("senseless", "AF109", own)
        for name, place, before, _ in self.cls.lost:
            if name in ("execute", "compensate"):
                yield fault("lost", "AF103", place | (before.lines if before else frozenset()))
        if execute is None:
            yield fault("lost", "AF111", lines)
        for annotation in self.fields.values():
            if is_storable(self.kind(annotation)) is not True:
                yield fault("unstorable", "AF110", lines, certain=is_storable(self.kind(annotation)) is False)
        yield from default_faults(self)
        undo_options = {"compensation_timeout", "compensation_retry", "if_unknown"} & set(self.cls.keywords)
        if compensate is None and undo_options:
            yield fault("lost", "AF109", lines)
        for member in functions.values():
            if member.marks:
                yield fault("uncallable", "AF113", member.lines)
        for member in (execute, compensate):
            if member is not None:
                yield from shape_faults(member)
                if member.is_plain:
                    yield fault("uncallable", "AF113", member.lines)
                if UNREADABLE in types_of(self, member).values():
                    yield fault("uncallable", "AF105", member.lines)
        if execute is not None:
            storable = is_storable(types_of(self, execute)["return"])
            if storable is not True:
                yield fault("unstorable", "AF110", execute.lines, certain=storable is False)
            yield from argument_faults(self, execute, {}, names={"output": execute, "execute": execute})
        if execute is not None and compensate is not None:
            outputs = {"output": execute, "execute": execute}
            blind = () if options.get("if_unknown") == "fail" or options.get("readonly") else ("output", "execute")
            yield from argument_faults(self, compensate, outputs, names=outputs, blind=blind)
            if options.get("readonly"):
                yield fault("lost", "AF114", compensate.lines)
            if options.get("pivot"):
                yield fault("lost", "AF112", compensate.lines)


def step_class_faults(text: Text, cls: Written) -> Iterator[Fault]:
    """What is wrong with a class of steps."""
    found = _StepClass(text, cls)
    return iter(()) if found.options.get("abstract") is True else found.faults()


class _Recorder:
    """Stands in for `SagaDefinition`: it notes what it is told."""

    def __init__(self, called: str, /, *, name: Any = None, timeout: Any = None) -> None:
        self.called, self.name, self.timeout = called, name, timeout
        self.line = sys._getframe(1).f_lineno
        self.places: list[tuple[int, Any, Any, Any]] = []

    def add_step(self, step: Any, *, name: Any = None, after: Any = None) -> _Recorder:
        more = _Recorder(self.called, name=self.name, timeout=self.timeout)
        more.line, more.places = self.line, [*self.places, (sys._getframe(1).f_lineno, step, name, after)]
        return more


def built_faults(text: Text, function: str) -> Iterator[Fault]:
    """What is wrong with the saga that a function puts together."""
    classes = {name: _StepClass(text, cls) for name, cls in text.classes.items() if "SagaStep" in roots(text, cls)}
    names = {**text.names, **{name: _named(name) for name in classes}, "SagaDefinition": _Recorder}
    exec(compile(_only(text, function), "text", "exec", dont_inherit=True), names)
    try:
        built = names[function]()
    except Exception:
        return  # Python will say so
    if isinstance(built, _Recorder):
        yield from _faults_of(built, classes)


def _named(name: str) -> Any:
    return lambda **fields: name


def _only(text: Text, function: str) -> Any:
    kept = [node for node in text.tree.body if getattr(node, "name", function) == function]
    return ast.Module(kept, [])


def _faults_of(built: _Recorder, classes: dict[str, _StepClass]) -> Iterator[Fault]:
    here = {built.line, *(line for line, *_ in built.places)}
    if built.name is not None and not is_name(built.name):
        yield fault("senseless", "AF119", here)
    for _ in nonsense({"timeout": built.timeout}):
        yield fault("senseless", "AF109", here)
    if not built.places:
        yield fault("lost", "AF111", here)
        return
    index: dict[Any, int] = {}
    before: list[set[int]] = []
    for i, (line, kind, name, after) in enumerate(built.places):
        called = _snake(classes[kind].options["name"] or kind) if name is None else name
        if not is_name(called) or called in index:
            yield fault("senseless", "AF109", [line])
        given = list(index) if after is None else [after] if isinstance(after, str) else list(after)
        if any(other not in index for other in given):
            yield fault("uncallable", "AF108", [line])
        direct = [index[other] for other in given if other in index]
        before.append(set(direct).union(*(before[j] for j in direct)))
        index.setdefault(called, i)
    yield from _ends_of(built, classes, before)


def _ends_of(built: _Recorder, classes: dict[str, _StepClass], before: list[set[int]]) -> Iterator[Fault]:
    lines = [line for line, *_ in built.places]
    kinds = [classes[kind] for _, kind, *_ in built.places]
    told = [_step(kind, before[i]) for i, kind in enumerate(kinds)]
    marked = [i for i, kind in enumerate(kinds) if kind.options.get("pivot")]
    pivot = marked[0] if marked else implied_pivot(told)
    stranded = simulate(told, pivot).stranded
    for i in stranded:
        yield fault("stranded", "AF104 AF112", [lines[i]] if i != pivot else lines)
    for i in range(len(kinds)):
        if marked and marked[0] != i and marked[0] not in before[i] and i not in before[marked[0]]:
            yield fault("stranded", "AF112", [lines[i]])
        if i in marked[1:]:
            yield fault("senseless", "AF112", [lines[i]])
        if marked and marked[0] in before[i] and kinds[i].options.get("retry") is None:
            yield fault("stuck", "AF112", [lines[i]])
        if marked and marked[0] in before[i] and told[i].undone:
            yield fault("lost", "AF112", [lines[i]])
    does = [effects_in(kind.bodies[0].members["execute"]) for kind in kinds]
    seen = [_step(kind, before[i], effect=does[i] or None) for i, kind in enumerate(kinds)]
    for i in simulate(seen, pivot).stranded - stranded:
        yield fault("stranded", "", [lines[i]], declared=False)


def _step(kind: _StepClass, before: set[int], effect: bool | None = None) -> Step:
    options = kind.options
    told = not options.get("readonly", False) if effect is None else effect
    undone = any("compensate" in body.members for body in kind.bodies)
    return Step(frozenset(before), told, undone, undone and options.get("if_unknown") == "fail")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
