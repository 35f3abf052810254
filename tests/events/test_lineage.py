"""A registry says at once what is wrong with it: exactly what an independent look at every path finds."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from allframe import AutoUpcaster, DefinitionError, Event, EventStore, MigrationPath, VersionRegistry, upcasts
from allframe.errors import Problem
from allframe.events.event import decode
from allframe.events.lineage import Form, problems_at_once, problems_of_chains
from allframe.events.upcasting import Upcaster, UpcasterFunction


class Paid(Event, name="lineage.paid", version=3):
    amount: int


def same(data: dict[str, Any]) -> dict[str, Any]:
    return data


def step(before: Form, after: Form) -> UpcasterFunction:
    return UpcasterFunction(same, before[0], before[1], after[1], after[0])


def paid(version: int, to: int | None = None) -> UpcasterFunction:
    return upcasts("lineage.paid", from_version=version, to_version=to)(same)


def refusal(*upcasters: Any) -> list[str]:
    with pytest.raises(DefinitionError) as refused:
        VersionRegistry(upcasters)
    assert {problem.rule for problem in refused.value.problems} == {"AF121"}
    assert all(__file__ in problem.where for problem in refused.value.problems if isinstance(upcasters[0], Upcaster))
    return [problem.text for problem in refused.value.problems]


PLACE = f"same ({__file__}:{same.__code__.co_firstlineno})"


# --- what is refused, and in which words -----------------------------------------------------------------------------


def test_af121_a_version_that_nothing_leads_on_from() -> None:
    assert refusal(paid(1)) == [
        f"{PLACE} leads to version 2 of 'lineage.paid', and nothing leads on from there to the newest, version 3. Write one "
        'with @upcasts("lineage.paid", from_version=2).'
    ]


def test_af121_an_upcaster_beyond_the_newest_class() -> None:
    assert refusal(paid(1), paid(2), paid(3)) == [
        f"{PLACE} leads to version 4 of 'lineage.paid', and the newest class is of version 3. Give the class version=4, or "
        "remove the upcaster."
    ]


def test_af121_a_name_that_no_class_has_with_the_nearest() -> None:
    wrong = upcasts("lineage.payed", from_version=2)(same)

    assert refusal(wrong) == [
        f"{PLACE} leads to version 3 of 'lineage.payed', and no class of that name was imported. Did you mean 'lineage.paid'? "
        "Import the module that defines it before the registry is made; the model of a snapshot goes into models=[...]."
    ]


def test_af121_two_upcasters_for_one_version() -> None:
    assert refusal(paid(1), paid(2), paid(2)) == [
        f"Version 2 of 'lineage.paid' has 2 upcasters: {PLACE} and {PLACE}. Nobody could say which is meant: keep one."
    ]


@pytest.mark.parametrize("to", [1, 2])
def test_af121_an_upcaster_that_does_not_lead_upwards(to: int) -> None:
    assert refusal(paid(2, to)) == [
        f"{PLACE} leads from version 2 of 'lineage.paid' to version {to}. An upcaster leads to a higher version."
    ]


def test_af121_a_circle() -> None:
    circle = step(("lineage.a", 1), ("lineage.b", 1)), step(("lineage.b", 1), ("lineage.a", 1))

    assert refusal(*circle) == [
        "These lead in a circle: 'lineage.a' 1 -> 'lineage.b' 1 -> 'lineage.a' 1. Nothing that is stored so could ever be "
        "read: remove one of them."
    ]


def test_af121_an_older_class_that_the_others_pass_by() -> None:
    class First(Event, name="lineage.three", version=1):
        pass

    class Third(Event, name="lineage.three", version=3):
        pass

    (text,) = refusal(step(("lineage.three", 2), ("lineage.three", 3)))

    assert (First.event_version, Third.event_version) == (1, 3)
    assert text == (
        "There is a class for version 1 of 'lineage.three' and none of the upcasters leads on from it to the newest, version "
        "3: it would be read as it was, and the others would not. Write one with "
        '@upcasts("lineage.three", from_version=1).'
    )


def test_af121_all_that_is_wrong_is_said_at_once() -> None:
    assert len(refusal(paid(1), step(("lineage.x", 1), ("lineage.y", 1)))) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (same, "is no upcaster. Decorate the function with @upcasts, or give an Upcaster object."),
        (step(("", 1), ("lineage.paid", 3)), "is ''. Expected the stored name of an event, which begins without '$'."),
        (step(("$saga.x", 1), ("lineage.paid", 3)), "is '$saga.x'. Expected the stored name of an event"),
        (step(("lineage.paid", 0), ("lineage.paid", 3)), "is 0. Expected a whole number from 1."),
        (step(("lineage.paid", 1), ("lineage.paid", True)), "is True. Expected a whole number from 1."),
    ],
)
def test_af121_what_is_no_upcaster(wrong: Any, said: str) -> None:
    (text,) = refusal(wrong)

    assert said in text


def test_af121_a_function_that_cannot_be_an_upcaster_where_it_is_decorated() -> None:
    with pytest.raises(DefinitionError, match=r"from_version is '1'\. Expected a whole number from 1\."):
        upcasts("lineage.paid", from_version="1")(same)  # type: ignore[arg-type]

    async def slow(data: dict[str, Any]) -> dict[str, Any]:
        return data

    with pytest.raises(DefinitionError, match=r"It is async\. Write `def`: it is called wherever an event is read"):
        upcasts("lineage.paid", from_version=1)(slow)  # type: ignore[arg-type]


def test_af121_an_auto_upcaster_that_cannot_fill_a_field_where_it_is_made() -> None:
    class Old(BaseModel):
        a: int

    class New(BaseModel):
        a: int
        b: int
        c: str
        d: int = 1

    with pytest.raises(DefinitionError) as refused:
        AutoUpcaster(Old, New)

    assert [problem.text.partition(". ")[0].split(".")[-1] for problem in refused.value.problems] == [
        "Old does not have",
        "Old does not have",
    ]
    assert ["'b'" in str(refused.value), "'c'" in str(refused.value), "'d'" in str(refused.value)] == [
        True,
        True,
        False,
    ]
    assert all(__file__ in problem.where for problem in refused.value.problems)


@pytest.mark.parametrize(
    "upcasters",
    [
        (paid(1), paid(2)),
        (paid(2),),
        (paid(1, to=3),),
        (step(("lineage.charged", 1), ("lineage.paid", 2)), paid(2)),
        (),
    ],
    ids=["step by step", "from later on", "at once", "from another name", "none"],
)
def test_af121_accepts_upcasters_that_lead_to_the_newest(upcasters: tuple[Any, ...]) -> None:
    assert VersionRegistry(upcasters).upcaster_count() == len(upcasters)


# --- built bit by bit ------------------------------------------------------------------------------------------------


def test_af121_a_registry_that_is_filled_bit_by_bit_when_a_store_gets_it() -> None:
    versions = VersionRegistry()
    versions.register_upcaster(paid(1))

    with pytest.raises(DefinitionError, match="nothing leads on from there to the newest, version 3"):
        EventStore(versions=versions)

    versions.register_upcaster(paid(2))
    EventStore(versions=versions)
    assert versions.upcaster_count() == 2


def test_af121_what_no_other_could_mend_at_once_and_is_not_added() -> None:
    versions = VersionRegistry([paid(1), paid(2)])

    with pytest.raises(DefinitionError, match="has 2 upcasters"):
        versions.register_upcaster(paid(2))

    assert (versions.upcaster_count(), versions.migration_count()) == (2, 2)


def test_af121_accepts_a_path_that_brings_its_upcasters() -> None:
    first, second = paid(1), paid(2)
    versions = VersionRegistry()

    versions.register_migration(MigrationPath("lineage.paid", 1, 3, upcasters=(first, second)))

    assert [path.upcasters for path in versions.get_migrations()] == [(first, second), (second,)]
    versions.register_migration(MigrationPath("lineage.paid", 2, 3, upcasters=(second,)))
    assert versions.upcaster_count() == 2


def test_af121_a_declared_path_that_is_not_there() -> None:
    versions = VersionRegistry([paid(2)])

    versions.register_migration(MigrationPath("lineage.paid", 2, 3))
    with pytest.raises(DefinitionError) as refused:
        versions.register_migration(MigrationPath("lineage.paid", 1, 3))

    assert refused.value.problems[0].text == (
        "The path lineage.paid 1 -> lineage.paid 3 needs upcasters that lead along it. They lead: nowhere from there. Register "
        "them first, or give them with the path."
    )


def test_af121_upcasters_that_do_not_lead_along_their_path() -> None:
    versions = VersionRegistry()

    with pytest.raises(DefinitionError, match=r"They lead: lineage\.paid 1 -> lineage\.paid 2\. Register them first"):
        versions.register_migration(MigrationPath("lineage.paid", 1, 3, upcasters=(paid(1),)))

    assert versions.get_migrations() == []


# --- against an independent look -------------------------------------------------------------------------------------

NAMES = ("alpha", "beta", "gamma")
forms = st.tuples(st.sampled_from(NAMES), st.integers(1, 5))
edges = st.lists(st.tuples(forms, forms), max_size=8)
classes = st.dictionaries(st.sampled_from(NAMES), st.sets(st.integers(1, 5), min_size=1))


@given(edges)
@settings(max_examples=400, deadline=None)
def test_what_no_other_could_mend_is_exactly_what_is_there(found: list[tuple[Form, Form]]) -> None:
    told = {_fact(problem) for problem in problems_at_once([step(*edge) for edge in found])}

    assert told == _wrong_at_once(found)


@given(edges, classes)
@settings(max_examples=600, deadline=None)
def test_wrong_ends_are_exactly_those_that_walking_every_path_finds(
    found: list[tuple[Form, Form]], known: dict[str, set[int]]
) -> None:
    sound = [edge for i, edge in enumerate(found) if not _wrong_at_once(found[: i + 1])]

    told = [_fact(problem) for problem in problems_of_chains([step(*edge) for edge in sound], known)]

    assert len(told) == len(set(told))
    assert set(told) == _wrong_ends(dict(sound), known)


def _wrong_at_once(found: list[tuple[Form, Form]]) -> set[tuple[Any, ...]]:
    facts: set[tuple[Any, ...]] = set()
    for before, after in found:
        if sum(other == before for other, _ in found) > 1:
            facts.add(("two", before))
        if before[0] == after[0] and after[1] <= before[1]:
            facts.add(("back", before, after[1]))
    up = [(before, after) for before, after in found if not (before[0] == after[0] and after[1] <= before[1])]
    first = dict(reversed(up))
    for start in first:
        walk = [start]
        while walk[-1] in first and len(walk) <= len(first):
            walk.append(first[walk[-1]])
        if start in walk[1:]:
            facts.add(("circle", frozenset(walk[: walk.index(start, 1)])))
    return facts


def _wrong_ends(onward: dict[Form, Form], known: dict[str, set[int]]) -> set[tuple[Any, ...]]:
    facts: set[tuple[Any, ...]] = set()
    ends = set()
    for form in onward:
        while form in onward:
            form = onward[form]
        ends.add(form)
    for name, version in ends:
        if name not in known:
            facts.add(("nowhere", (name, version)))
        elif version != max(known[name]):
            facts.add(("beyond" if version > max(known[name]) else "short", (name, version)))
    touched = {name for pair in onward.items() for name, _ in pair}
    for name, version in itertools.product(touched, range(1, 6)):
        is_old = version in known.get(name, ()) and version != max(known[name])
        if is_old and (name, version) not in onward and (name, version) not in ends:
            facts.add(("forgotten", (name, version)))
    return facts


def _fact(problem: Problem) -> tuple[Any, ...]:
    """What a problem says, for comparing."""
    text = problem.text.replace(PLACE, "it")
    if found := re.match(r"Version (\d+) of '(\w+)' has \d upcasters", text):
        return "two", (found[2], int(found[1]))
    if found := re.match(r"it leads from version (\d) of '(\w+)' to version (\d)", text):
        return "back", (found[2], int(found[1])), int(found[3])
    if text.startswith("These lead in a circle"):
        return "circle", frozenset((name, int(version)) for name, version in re.findall(r"'(\w+)' (\d)", text))
    if found := re.match(r"There is a class for version (\d) of '(\w+)'", text):
        return "forgotten", (found[2], int(found[1]))
    found = re.match(r"it leads to version (\d) of '(\w+)', and (no class|the newest|nothing)", text)
    assert found, text
    return {"no class": "nowhere", "the newest": "beyond", "nothing": "short"}[found[3]], (found[2], int(found[1]))


# --- random chains of one event --------------------------------------------------------------------------------------

_numbers = itertools.count(1)
keys = st.sampled_from("abcd")
changes = st.one_of(
    st.tuples(st.just("put"), keys, st.integers(-9, 9)),
    st.tuples(st.just("drop"), keys, st.just(0)),
    st.tuples(st.just("double"), keys, st.just(2)),
)


def _changed(content: dict[str, int], change: tuple[str, str, int]) -> dict[str, int]:
    what, key, number = change
    if what == "put":
        return {**content, key: number}
    if what == "drop":
        return {name: value for name, value in content.items() if name != key}
    return {name: value * number if name == key else value for name, value in content.items()}


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_version_was_stored_it_is_read_as_todays(data: st.DataObject) -> None:
    versions = sorted(data.draw(st.sets(st.integers(1, 50), min_size=2, max_size=7), "versions"))
    names = [f"lineage.chain_{next(_numbers)}"] * len(versions)
    renamed = data.draw(st.integers(0, len(versions) - 1), "renamed after")
    names[:renamed] = [f"{names[0]}.old"] * renamed
    path = data.draw(st.lists(changes, min_size=len(versions) - 1, max_size=len(versions) - 1), "changes")

    class Today(Event, name=names[-1], version=versions[-1]):
        content: dict[str, int]

    def upcaster(i: int) -> UpcasterFunction:
        @upcasts(names[i], from_version=versions[i], to_version=versions[i + 1], to_type=names[i + 1])
        def change(payload: dict[str, Any]) -> dict[str, Any]:
            return {"content": _changed(payload["content"], path[i])}

        return change

    order = data.draw(st.permutations(range(len(path))), "registered in this order")
    registry = VersionRegistry(upcaster(i) for i in order)
    stored = data.draw(st.dictionaries(keys, st.integers(-9, 9)), "payload")

    for i, form in enumerate(zip(names, versions, strict=True)):
        by_hand = stored
        for change in path[i:]:
            by_hand = _changed(by_hand, change)
        payload = Today(content=stored).model_dump_json().encode()
        assert decode(*form, payload, registry) == Today(content=by_hand)
    assert registry.migration_count() == len(path)
