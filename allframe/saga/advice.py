"""AF201…: what a definition may say, and its author may not mean.

A saga that gets advice can be run, and rolled back as far as anything can. The advice tells where a person may have to
step in who need not have to. Each kind is a function from a `Definition` to what it has to say, as the rules are. Who
knows better waives it, with the reason: `allframe.saga.waivers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

from allframe.errors import Problem
from allframe.saga.annotations import MISSING, injected, is_context
from allframe.saga.definition import Declared, Definition
from allframe.saga.marks import DEFAULT_TIMEOUT, StepMark, code_of, mark_of
from allframe.saga.waivers import ADVICE, NONE, reasons

__all__ = ["advice_of", "may_stay_unknown", "pivot_advice"]


def advice_of(definition: Definition) -> tuple[Problem, ...]:
    """All advice on a definition that breaks no rule, from the top of the file; what was waived has the reason.

    Every annotation of it is resolved.
    """
    found = [problem for kind in _KINDS for problem in kind(definition)]
    waived = [dataclasses.replace(problem, waived=_reason(definition, problem)) for problem in found]
    return tuple(sorted([*waived, *_idle(definition, found)], key=_place))


def _place(problem: Problem) -> tuple[str, int, str]:
    return problem.path, problem.line or 0, problem.rule


def _reason(definition: Definition, problem: Problem) -> str | None:
    """Why it does not hold: what is said of the function goes before what is said of the class."""
    options = definition.options
    for waive in (_said_of(definition, problem.member), reasons(options.waive), options.waived_above):
        if problem.rule in waive:
            return waive[problem.rule]
    return None


def _said_of(definition: Definition, member: str | None) -> Mapping[str, str]:
    """What is waived of this one function."""
    return next((reasons(each.mark.waive) for each in definition.functions if each.attribute == member), NONE)


# --- the kinds -------------------------------------------------------------------------------------------------------


def _works_without_output(definition: Definition) -> Iterator[Problem]:
    for undo in definition.compensations:
        if undo.mark.if_unknown == "fail":
            yield Problem(
                "AF201",
                f'{undo.attribute!r} has if_unknown="fail": where nobody can say whether {undo.mark.step!r} took effect, '
                "as after a timeout or a crash, nothing is undone and a person must step in. Let it take "
                "`... | Unknown` and undo by ctx.forward_key, if the other side can.",
                undo.where,
                undo.attribute,
            )


def _can_be_interrupted(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        timeout = step.mark.timeout
        if step.is_async or timeout is None or timeout is DEFAULT_TIMEOUT or _looks_at_cancelled(step):
            continue
        yield Problem(
            "AF202",
            f"{step.attribute!r} runs on a thread, which nothing can interrupt, and has timeout={timeout!r}: past it the "
            "saga waits all the same, and what comes then is too late. Write `async def`, end when ctx.cancelled is set, "
            "or limit the call inside and take the timeout away.",
            step.where,
            step.attribute,
        )


def _looks_at_cancelled(step: Declared[StepMark]) -> bool:
    """Whether its code names ``cancelled``: that is how a thread hears of its deadline."""
    code = code_of(step.value)
    return code is not None and any("cancelled" in part.co_names for part in _parts(code))


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _says_what_it_returns(definition: Definition) -> Iterator[Problem]:
    for step in definition.steps:
        if step.returns is MISSING:
            yield Problem(
                "AF203",
                f"{step.attribute!r} does not say what it returns: only None, text, numbers, and lists and dicts of them "
                "can be stored of it, and who takes its output is not checked. Annotate it; `-> None` if it returns nothing.",
                step.where,
                step.attribute,
            )


def _pivot_is_tried_again(definition: Definition) -> Iterator[Problem]:
    # Whether an object of a class of steps comes last is known where a saga is built of it.
    marked = [step for step in definition.steps if step.mark.pivot]
    pivot = definition.pivot if definition.kind == "saga" else None
    for step in marked if pivot is None else [definition.steps[pivot]]:
        if not may_stay_unknown(step):
            continue
        how = "is marked as the pivot" if step.mark.pivot else "is the pivot, for it comes last and nothing undoes it"
        yield pivot_advice(step.attribute, how, step.where, "Give it retry=Retry(...)")


def may_stay_unknown(step: Declared[StepMark]) -> bool:
    """Whether one silence is enough for it to stay unknown, and another attempt could have helped."""
    mark = step.mark
    return not mark.readonly and mark.repeatable and (mark.retry is None or mark.retry.attempts < 2)


def pivot_advice(name: str, how: str, where: str, remedy: str) -> Problem:
    """AF204, of the step ``name``, which is the pivot; ``how`` it came to be that."""
    return Problem(
        "AF204",
        f"{name!r} {how}, and is tried once: after one timeout nobody can say whether it took effect, and the saga is "
        f"blocked until a person does. {remedy}, or say repeatable=False if it must not run twice.",
        where,
        name,
    )


def _gets_no_field(definition: Definition) -> Iterator[Problem]:
    for declared in definition.functions:
        for parameter in declared.parameters if not declared.is_plain else ():
            name, annotation = parameter.name, declared.hint(parameter.name)
            given = injected(annotation) is not None or is_context(annotation)
            if name in definition.fields and parameter.default is not MISSING and not given:
                yield Problem(
                    "AF206",
                    f"The parameter {name!r} of {declared.attribute!r} has a default and always gets that: {name!r} is a field "
                    f"of the {definition.kind}, and a method is given none of them. Take the parameter away, and read "
                    f"self.{name}.",
                    declared.where,
                    declared.attribute,
                )


_KINDS: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    _works_without_output,
    _can_be_interrupted,
    _says_what_it_returns,
    _pivot_is_tried_again,
    _gets_no_field,
)


# --- AF205 -----------------------------------------------------------------------------------------------------------


def _idle(definition: Definition, found: list[Problem]) -> Iterator[Problem]:
    """Waivers of this very class that waive nothing; one that is inherited, or comes with a function, does elsewhere."""
    for declared in definition.functions:
        if not _is_marked_here(definition, declared):
            continue
        got = {problem.rule for problem in found if problem.member == declared.attribute}
        for code in sorted(reasons(declared.mark.waive).keys() - got):
            yield _of_nothing(f"{declared.attribute!r}", code, declared.where, declared.attribute)
    got = {problem.rule for problem in found if problem.rule not in _said_of(definition, problem.member)}
    if definition.kind == "step" and not definition.compensations and may_stay_unknown(definition.steps[0]):
        got.add("AF204")  # where it comes last in a saga that is built
    for code in sorted(reasons(definition.options.waive).keys() - got):
        yield _of_nothing("It", code, definition.where, None)


def _is_marked_here(definition: Definition, declared: Declared[Any]) -> bool:
    """Whether its mark stands in this class, on a function that was written there."""
    own = vars(definition.cls).get(declared.attribute)
    code = code_of(own)
    written_here = code is not None and code.co_qualname == f"{definition.cls.__qualname__}.{declared.attribute}"
    return written_here and mark_of(own) is not None


def _of_nothing(who: str, code: str, where: str, member: str | None) -> Problem:
    text = f"{who} waives {code}, and there is nothing to waive: {ADVICE[code]}, and here that is not so. Take it away."
    return Problem("AF205", text, where, member)
