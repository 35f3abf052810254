"""Whether a step or a compensation can be called: what its parameters are, and what there is for them."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from tests.mutants.faults import Fault, fault
from tests.mutants.kinds import can_be, is_context, is_injected, takes_unknown
from tests.mutants.reading import UNREADABLE, Member
from tests.mutants.resolved import Resolved

__all__ = ["argument_faults", "default_faults", "effects_in", "shape_faults", "types_of"]


def shape_faults(member: Member) -> Iterator[Fault]:
    """What is no function that takes named arguments and gives one value."""
    args, node = member.node.args, member.node
    generates = any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own(node))
    kinds = {mark.kind for mark in member.marks}
    if member.wrappers:  # whoever names it by its function may not find it behind that
        yield fault("uncallable", "AF101 AF117", member.lines, certain=False)
    if member.wrappers or generates or len(kinds) > 1:
        yield fault("uncallable", "AF113", member.lines)
        return
    positional = args.posonlyargs[not member.is_plain :]
    for _ in filter(None, [args.vararg, args.kwarg, *positional]):
        yield fault("uncallable", "AF113", member.lines)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function, and not in one inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def types_of(cls: Resolved, member: Member) -> Mapping[str, Any]:
    """The types of its parameters, and of what it returns as ``return``."""
    args = member.node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    return {**{arg.arg: cls.kind(arg.annotation) for arg in every}, "return": cls.kind(member.node.returns)}


def argument_faults(
    cls: Resolved,
    member: Member,
    outputs: Mapping[str, Member],
    *,
    names: Mapping[str, Any] | None = None,
    blind: Collection[str] = (),
    partial: bool = False,
    ordered: bool = True,
) -> Iterator[Fault]:
    """What no call of it can give.

    ``outputs``: the steps that certainly succeeded when it is called; ``names``: of all steps; ``blind``: the names of the
    one of which there may be an `Unknown` in place of the output; ``partial``: other steps may be added; ``ordered``: it
    is known what runs before what.
    """
    types = types_of(cls, member)
    names = cls.steps if names is None else names
    args = member.node.args
    for arg in [*args.args[not member.is_plain and not args.posonlyargs :], *args.kwonlyargs]:
        kind, name = types[arg.arg], arg.arg
        if kind is UNREADABLE:
            continue
        if name in outputs:
            made = types_of(cls, outputs[name])["return"]
            if made is not UNREADABLE and can_be(made, kind) is not True:
                yield fault("uncallable", "AF107", member.lines, certain=can_be(made, kind) is False)
            elif outputs[name].wrappers:  # what it returns does not show
                yield fault("uncallable", "AF107", member.lines, certain=False)
            if name in blind and not takes_unknown(kind):
                yield fault("uncallable", "AF116", member.lines)
        elif member.is_plain and name in cls.fields:
            made = cls.kind(cls.fields[name])
            if made is not UNREADABLE and can_be(made, kind) is not True:
                yield fault("uncallable", "AF107", member.lines, certain=can_be(made, kind) is False)
        elif not (is_context(kind) or is_injected(kind) or name in member.defaulted or partial):
            if name not in names:
                yield fault("uncallable", "AF105", member.lines)
            elif ordered:
                yield fault("uncallable", "AF106", member.lines)


def default_faults(cls: Resolved) -> Iterator[Fault]:
    """Fields that are of another type where nothing is given for them: what is stored is not what is read."""
    for name, annotation in cls.cls.fields.items():
        member = cls.cls.members.get(name)
        if member is not None and not member.mark:  # Python takes the function for the default
            yield fault("unstorable", "AF110", cls.cls.lines)
        kind, default = cls.kind(annotation), cls.cls.defaults.get(name)
        value = UNREADABLE if default is None else cls.text.value(default, cls.scope)
        if UNREADABLE not in (kind, value) and not isinstance(value, FieldInfo):
            fits = can_be(type(value), kind)
            if fits is not True:
                yield fault("unstorable", "AF110", cls.cls.lines, certain=fits is False)


def effects_in(member: Member) -> bool:
    """Whether its body does something at the far side, as those of `tests.forty` do."""
    return any(isinstance(node, ast.Attribute) and node.attr in ("do", "do_now") for node in ast.walk(member.node))
