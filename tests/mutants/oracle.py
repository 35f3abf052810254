"""Says which mutants are broken: an effect can stay without anybody knowing, or something that is written cannot happen.

It reads the text (`tests.mutants.reading`), plays every outcome (`tests.mutants.outcomes`) and judges types by their values
(`tests.mutants.kinds`); of allframe it uses the names that a user imports. Each fault has the rules that may name it and
the lines at which they may.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from tests.mutants.building import built_faults, step_class_faults
from tests.mutants.calling import argument_faults, default_faults, effects_in, shape_faults, types_of
from tests.mutants.faults import Fault, fault
from tests.mutants.kinds import is_storable
from tests.mutants.options import is_name, nonsense
from tests.mutants.outcomes import Step, implied_pivot, simulate
from tests.mutants.reading import UNREADABLE, Member, Text, Written, read
from tests.mutants.resolved import Resolved, roots
from tests.mutants.sources import Unit

__all__ = ["judge"]


def judge(unit: Unit, source: str) -> list[Fault]:
    """What is wrong with a mutant of ``unit``, up to its first class that must be refused: Python gets no further."""
    text = read(source, unit.world)
    found: list[Fault] = []
    for node in text.tree.body:
        found += _faults_of(text, node)
        if any(each.certain and each.declared for each in found):
            break
    return found


def _faults_of(text: Text, node: ast.stmt) -> Iterator[Fault]:
    if isinstance(node, ast.ClassDef):
        cls = text.classes[node.name]
        above = roots(text, cls)
        if "Saga" in above:
            yield from _Saga(text, cls).faults()
        elif "SagaStep" in above:
            yield from step_class_faults(text, cls)
    elif isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "SagaDefinition":
        yield from built_faults(text, node.name)


#: What a class of sagas has that a member of it would hide.
_TAKEN: Final = frozenset({*dir(BaseModel), "graph", "saga_name", "saga_version"})


class _Saga(Resolved):
    """One class of sagas, with what is wrong with it."""

    def __init__(self, text: Text, cls: Written) -> None:
        super().__init__(text, cls)
        names = list(self.steps)
        self.index = {name: i for i, name in enumerate(names)}
        self.after = [self._after(i, member) for i, member in enumerate(self.steps.values())]
        self.before = _closed(self.after)
        self.cycle = [i for i, before in enumerate(self.before) if i in before]
        self.undoes: dict[int, list[Member]] = {}
        for undo in self.undoing.values():
            target = self.target(undo)
            if isinstance(target, str) and target in self.index:
                self.undoes.setdefault(self.index[target], []).append(undo)

    def _after(self, i: int, member: Member) -> list[Any]:
        given = self._option(member, "after", None)
        if given is None:
            return list(range(i))
        names = (given,) if isinstance(given, str) else tuple(given)
        return [self.index.get(name, name) for name in names]

    def _option(self, member: Member, name: str, default: Any) -> Any:
        assert member.mark is not None
        return member.mark.options.get(name, default)

    def faults(self) -> Iterator[Fault]:
        yield from self._of_the_class()
        for name, lines, before, after in self.cls.lost:
            marked = any(each and each.mark for each in (before, after)) or name in self.members
            same = before and after and before.node is after.node  # a function is assigned twice, and is there once
            if marked and not same:
                yield fault("lost", "AF103 AF114", lines | (before.lines if before else frozenset()))
        for name, member in self.members.items():
            yield from self._of_a_member(name, member)
        yield from self._of_compensations()
        yield from self._of_types()
        if not self.abstract:
            yield from self._of_the_order()
            if not self.cycle:
                yield from self._of_the_ends()

    def _of_the_class(self) -> Iterator[Fault]:
        lines = self.cls.lines
        for name in self.fields:
            if name in _TAKEN:
                yield fault("lost", "AF115", lines)
        options = self.options
        if options["name"] is not None and not is_name(options["name"]):
            yield fault("senseless", "AF119", lines)
        version = options["version"]
        if version is not UNREADABLE and (type(version) is not int or version < 1):
            yield fault("senseless", "AF119", lines)
        told = ("timeout", "unknown_on", "known_on", "abstract")
        for _ in nonsense({each: options[each] for each in told if each in options}):
            yield fault("senseless", "AF109", lines)
        if not self.steps and not self.abstract:
            yield fault("lost", "AF111", lines)

    def _of_a_member(self, name: str, member: Member) -> Iterator[Fault]:
        assert member.mark is not None
        if name in self.fields:
            own = self.cls.lines if name in self.cls.fields else frozenset()
            yield fault("lost", "AF114", member.lines | own)
        if name in _TAKEN:
            yield fault("lost", "AF115", member.lines)
            yield fault("senseless", "AF119", self.cls.lines, certain=False)  # it is there in place of the name
        for _ in nonsense(member.mark.options, undo=member.mark.kind == "compensates"):
            yield fault("senseless", "AF109", member.lines)
        if member.mark.kind == "step":
            stored = self._option(member, "name", None)
            if not is_name(name if stored is None else stored):
                yield fault("senseless", "AF109", member.lines)
        yield from shape_faults(member)

    def _of_compensations(self) -> Iterator[Fault]:
        for undo in self.undoing.values():
            target = self.target(undo)
            assert undo.mark is not None
            if any(mark.kind == "compensates" and not mark.target for mark in undo.marks):
                yield fault("uncallable", "AF113", undo.lines)
            elif isinstance(target, list):
                yield fault("uncallable", "AF117" if target else "AF101", undo.lines)
            elif target not in self.index and not self.abstract:
                yield fault("uncallable", "AF101", undo.lines)
        by_name: dict[Any, list[Member]] = {}
        for undo in self.undoing.values():
            by_name.setdefault(str(self.target(undo)), []).append(undo)
        for target, undos in by_name.items():
            if len(undos) > 1 and target != "[]":
                yield fault("lost", "AF102", frozenset().union(*(undo.lines for undo in undos)))

    def _of_types(self) -> Iterator[Fault]:
        unreadable = [member for member in self.members.values() if UNREADABLE in types_of(self, member).values()]
        for member in unreadable:
            yield fault("uncallable", "AF105", member.lines)
        if any(self.kind(annotation) is UNREADABLE for annotation in self.fields.values()):
            yield fault("uncallable", "AF105", self.cls.lines)
        for step in self.steps.values():
            storable = is_storable(types_of(self, step)["return"])
            if storable is not True and step not in unreadable:
                yield fault("unstorable", "AF110", step.lines, certain=storable is False)
        for annotation in self.fields.values():
            storable = is_storable(self.kind(annotation))
            if storable is not True and self.kind(annotation) is not UNREADABLE:
                yield fault("unstorable", "AF110", self.cls.lines, certain=storable is False)
        yield from default_faults(self)
        for name, member in self.members.items():
            yield from self._of_arguments(name, member)

    def _of_arguments(self, name: str, member: Member) -> Iterator[Fault]:
        assert member.mark is not None
        if member.mark.kind == "step":
            outputs = {each: self.steps[each] for each, i in self.index.items() if i in self.before[self.index[name]]}
            yield from argument_faults(self, member, outputs, partial=self.abstract, ordered=not self.cycle)
            return
        target = self.target(member)
        if not isinstance(target, str) or target not in self.index:
            return
        i = self.index[target]
        outputs = {each: self.steps[each] for each, j in self.index.items() if j in self.before[i] or j == i}
        asks = self._option(member, "if_unknown", "call") == "fail"
        readonly = bool(self._option(self.steps[target], "readonly", False))
        blind = () if asks or readonly else (target,)
        yield from argument_faults(self, member, outputs, blind=blind, partial=self.abstract, ordered=not self.cycle)

    def _of_the_order(self) -> Iterator[Fault]:
        members = list(self.steps.values())
        for member, after in zip(members, self.after, strict=True):
            if any(not isinstance(other, int) for other in after):
                yield fault("uncallable", "AF108", member.lines)
        if self.cycle:
            yield fault("uncallable", "AF108", frozenset().union(*(members[i].lines for i in self.cycle)))
        stored: dict[Any, Member] = {}
        for name, member in self.steps.items():
            given = self._option(member, "name", None)
            other = stored.setdefault(name if given is None else given, member)
            if other is not member:
                yield fault("senseless", "AF109", member.lines | other.lines)

    def _of_the_ends(self) -> Iterator[Fault]:
        """What the play of all outcomes shows."""
        members = list(self.steps.values())
        told = [self._step(i, effect=not self._option(member, "readonly", False)) for i, member in enumerate(members)]
        marked = [i for i, member in enumerate(members) if self._option(member, "pivot", False)]
        for i in marked[1:]:
            yield fault("senseless", "AF112", members[i].lines | members[marked[0]].lines)
        pivot = marked[0] if marked else implied_pivot(told)
        outcomes = simulate(told, pivot)
        for i in sorted(outcomes.stranded):
            beside = _beside(self.before, i) if i == pivot else []
            lines = members[i].lines.union(*(members[j].lines for j in beside))
            yield fault("stranded", "AF104 AF112" if i == pivot else "AF104", lines)
        for i, undos in self.undoes.items():
            if i not in outcomes.undone and not (told[i].asks and told[i].effect):
                yield fault("lost", "AF112 AF114", frozenset().union(*(undo.lines for undo in undos)))
        if marked:
            yield from self._of_the_pivot(marked[0], members)
        seen = [self._step(i, effect=step.effect or effects_in(members[i])) for i, step in enumerate(told)]
        for i in sorted(simulate(seen, pivot).stranded - outcomes.stranded):
            yield fault("stranded", "", members[i].lines, declared=False)

    def _of_the_pivot(self, pivot: int, members: list[Member]) -> Iterator[Fault]:
        for i in _beside(self.before, pivot):
            yield fault("stranded", "AF112", members[i].lines | members[pivot].lines)
        for i, member in enumerate(members):
            if pivot in self.before[i] and self._option(member, "retry", None) is None:
                yield fault("stuck", "AF112", member.lines)
            if pivot in {i, *self.before[i]}:
                for undo in self.undoes.get(i, ()):
                    yield fault("lost", "AF112", undo.lines)

    def _step(self, i: int, *, effect: bool) -> Step:
        undos = self.undoes.get(i, [])
        asks = bool(undos) and self._option(undos[0], "if_unknown", "call") == "fail"
        return Step(frozenset(self.before[i]), effect, bool(undos), asks)


def _closed(after: list[list[Any]]) -> list[set[int]]:
    """For each step, all that run before it; itself too, where it waits for itself."""
    before: list[set[int]] = [{j for j in each if isinstance(j, int)} for each in after]
    while True:
        wider = [each.union(*(before[j] for j in each)) for each in before]
        if wider == before:
            return before
        before = wider


def _beside(before: list[set[int]], i: int) -> list[int]:
    return [j for j in range(len(before)) if j != i and j not in before[i] and i not in before[j]]
