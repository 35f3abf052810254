"""What ``allframe check`` found: where it is, what it is about, how bad it is; as text, as JSON, for GitHub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from allframe.cli.render import clean, print_json, print_line, printable, warn
from allframe.errors import DefinitionError, Problem

__all__ = ["Finding", "Format", "Severity", "advised", "in_order", "refused", "tell"]


class Severity(StrEnum):
    #: It breaks a rule.
    ERROR = "error"
    #: It may be meant otherwise.
    ADVICE = "advice"
    #: It is meant so, and somebody said why.
    WAIVED = "waived"


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of one definition, or advice on it."""

    #: What it is about, such as ``Saga Order``; empty for a module.
    title: str
    problem: Problem
    severity: Severity

    @property
    def path(self) -> str:
        """The file, below the folder in which the command runs if it is there."""
        path = Path(self.problem.path)
        if not path.is_absolute():
            return self.problem.path
        path, here = path.resolve(), Path.cwd().resolve()
        return str(path.relative_to(here)) if path.is_relative_to(here) else self.problem.path

    @property
    def subject(self) -> str:
        """``Saga Order, pay``."""
        return ", ".join(part for part in (self.title, self.problem.member) if part)


def refused(error: DefinitionError) -> Iterator[Finding]:
    """Each problem of a definition that is refused."""
    return (Finding(error.what, problem, Severity.ERROR) for problem in error.problems)


def advised(title: str, advice: Iterable[Problem]) -> Iterator[Finding]:
    """Each piece of advice on one that is not."""
    for problem in advice:
        yield Finding(title, problem, Severity.ADVICE if problem.waived is None else Severity.WAIVED)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By file, line and code; what classes inherit from each other is told once, of the first that has it."""
    first: dict[tuple[str, str, str, Severity], Finding] = {}
    for found in findings:
        first.setdefault((found.problem.rule, found.problem.where, found.problem.text, found.severity), found)
    return sorted(first.values(), key=lambda found: (found.path, found.problem.line or 0, found.problem.rule))


def tell(findings: Sequence[Finding], form: Format) -> None:
    """Print them: text for people on standard error, anything else on standard output."""
    match form:
        case Format.JSON:
            print_json([_as_json(found) for found in findings], indent=2)
        case Format.GITHUB:
            for found in findings:
                print_line(_as_command(found))
        case Format.TEXT:
            for found in findings:
                warn(_as_text(found))


def _as_text(found: Finding) -> str:
    problem = found.problem
    place = found.path if problem.line is None else f"{found.path}:{problem.line}"
    kind = "" if found.severity is Severity.ERROR else f" ({found.severity})"
    lines = [*problem.text.splitlines(), *([f"Waived: {problem.waived}"] if problem.waived else [])]
    body = "".join(f"\n    {clean(line)}" for line in lines)
    return f"{clean(place)}: {problem.rule}{kind} {clean(found.subject)}".rstrip() + body


def _as_json(found: Finding) -> dict[str, object]:
    problem = found.problem
    return {
        "rule": problem.rule,
        "saga": found.title.removeprefix("Saga ") or None,
        "member": problem.member,
        "path": found.path,
        "line": problem.line,
        "text": problem.text,
        "near": list(problem.near),
        "severity": found.severity,
        "reason": problem.waived,
    }


# --- https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands ----------------------------

_COMMANDS = {Severity.ERROR: "error", Severity.ADVICE: "warning", Severity.WAIVED: "notice"}


def _as_command(found: Finding) -> str:
    """A workflow command, which GitHub shows beside the line that it is about."""
    problem = found.problem
    properties = {"file": found.path, "line": problem.line, "title": problem.rule}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value is not None)
    waived = f"\nWaived: {problem.waived}" if problem.waived else ""
    subject = f"{found.subject}: " if found.subject else ""
    return f"::{_COMMANDS[found.severity]} {said}::{_data(f'{subject}{problem.text}{waived}')}"


def _data(text: object) -> str:
    """Escaped as GitHub's own toolkit does; what else could play tricks on a terminal as everywhere."""
    escaped = printable(text).replace("%", "%25")
    return escaped.replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
