"""INPUT is read line by line: each stands for itself, and has one id for ever."""

from __future__ import annotations

import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from allframe import Saga, step
from allframe.cli.exits import Stop
from allframe.cli.inputs import Inputs, read_inputs


class Order(Saga, name="order"):
    item: str
    price: Decimal = Field(default=Decimal(1), gt=0)

    @step(readonly=True)
    async def look(self) -> None: ...


def read(text: str, folder: Path, **options: Any) -> Inputs:
    path = folder / "orders.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return read_inputs(str(path), Order, **options)


def complaint(text: str, folder: Path) -> str:
    """What is said of the only line."""
    inputs = read(text, folder)
    assert not inputs.lines
    (bad,) = inputs.bad
    return bad.message


def test_an_object_is_one_saga() -> None:
    (line,) = read_inputs('{"$id": "o-1", "item": "tea", "price": "2.50"}', Order).lines

    assert (line.number, line.id, line.saga) == (1, "o-1", Order(item="tea", price=Decimal("2.50")))


def test_a_json_file_holds_an_object_or_an_array(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{\n  "item": "tea"\n}\n')
    (tmp_path / "more.json").write_text('[{"item": "tea"}, {"item": 1}, {"item": "salt"}]')

    one = read_inputs(str(tmp_path / "one.json"), Order)
    more = read_inputs(str(tmp_path / "more.json"), Order)

    assert [line.number for line in one.lines] == [1]
    assert [line.number for line in more.lines] == [1, 3]
    assert more.place(more.bad[0].number) == f"{tmp_path}/more.json, line 2"


def test_standard_input_is_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ('{\n"item": "tea"}', '{"item": "tea"}\n{"item": "salt"}\n', '[{"item": "tea"}]'):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        inputs = read_inputs("-", Order)
        assert inputs.source == "standard input"
        assert inputs.lines[0].saga == Order(item="tea")
        assert not inputs.bad


def test_blank_lines_count_and_are_skipped(tmp_path: Path) -> None:
    inputs = read('\ufeff{"item": "tea"}\r\n\n   \n{"item": "salt"}', tmp_path)

    assert [(line.number, line.saga.item) for line in inputs.lines] == [(1, "tea"), (4, "salt")]  # type: ignore[attr-defined]


def test_a_line_without_an_id_is_named_by_its_content(tmp_path: Path) -> None:
    text = '{"item": "tea"}\n{"item": "salt"}\n{"price": "1", "item": "tea"}\n'

    ids = [line.id for line in read(text, tmp_path).lines]

    assert ids == [line.id for line in read(text, tmp_path).lines]
    assert ids[0].startswith("order-")
    assert ids[0].removesuffix("-1") == ids[2].removesuffix("-2"), "equal inputs, two sagas"
    assert ids[1].endswith("-1")
    assert ids[1] != ids[0]


def test_new_ids_are_new_and_given_ones_stay(tmp_path: Path) -> None:
    text = '{"item": "tea"}\n{"$id": "mine", "item": "tea"}'

    first, second = (read(text, tmp_path, new_ids=True).lines for _ in range(2))

    assert first[0].id != second[0].id
    assert first[1].id == second[1].id == "mine"


def test_one_id_with_one_input_is_one_saga(tmp_path: Path) -> None:
    inputs = read('{"$id": "a", "item": "tea"}\n{"item": "tea", "$id": "a"}', tmp_path)

    assert [line.number for line in inputs.lines] == [1]
    assert not inputs.bad


def test_one_id_with_two_inputs_is_a_conflict_of_the_second(tmp_path: Path) -> None:
    inputs = read('{"$id": "a", "item": "tea"}\n{"$id": "a", "item": "salt"}', tmp_path)

    assert [line.number for line in inputs.lines] == [1]
    assert inputs.bad[0].number == 2
    assert inputs.bad[0].message.startswith("its $id 'a' is that of line 1, which has another input.")


def test_every_bad_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    lines = ['{"item": "tea"}'] * 20
    lines[16] = '{"item": "tea"'
    lines[18] = '{"item": 7}'

    inputs = read("\n".join(lines), tmp_path)

    assert len(inputs.lines) == 18
    assert [bad.number for bad in inputs.bad] == [17, 19]
    assert inputs.bad[0].message == "it is no JSON: Expecting ',' delimiter at column 15."
    assert inputs.bad[1].message == "item: Input should be a valid string, found 7."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]x", "it is no JSON: Extra data at column 4."),
        ("7", "expected a JSON object with the saga's fields, found a number."),
        ('["tea"]', "expected a JSON object with the saga's fields, found an array."),
        ("{}", "item is missing."),
        ('{"item": "tea", "item": "salt"}', "it has the key 'item' twice."),
        ('{"item": {"a": 1, "a": 2}}', "it has the key 'a' twice."),
        ('{"item": "tea", "price": NaN}', "it is no JSON: NaN is no number."),
        ('{"item": "tea", "price": "-1"}', "price: Input should be greater than 0, found '-1'."),
        ('{"item": "tea", "prise": 1}', "Order has no field 'prise': did you mean 'price'?"),
        ('{"item": "tea", "xyz": 1}', "Order has no field 'xyz': its fields are: item, price."),
        (
            '{"$id": 7, "item": "tea"}',
            "its $id is 7. Expected 1 to 200 printable characters, the first of them not '$'.",
        ),
        ('{"$id": "", "item": "tea"}', "its $id is ''. Expected 1 to 200"),
        ('{"$id": "$a", "item": "tea"}', "its $id is '$a'. Expected 1 to 200"),
        ('{"$id": "a\\u001b[2J", "item": "tea"}', "its $id is 'a\\x1b[2J'. Expected 1 to 200"),
        ('{"item": "\udcff"}', "it is not UTF-8: byte 0xff at 11."),
        ("[" * 100_000, "it is nested too deeply."),
        ('{"item": "tea", "price": ' + "9" * 5000 + "}", "it is no JSON that can be read: Exceeds the limit"),
    ],
)
def test_says_what_is_wrong_with_a_line(text: str, said: str, tmp_path: Path) -> None:
    assert complaint(text, tmp_path).startswith(said)


def test_a_file_that_is_not_there_has_a_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").touch()

    with pytest.raises(Stop, match=r"There is no file .*/order\.jsonl\. Did you mean .*/orders\.jsonl\?") as caught:
        read_inputs(str(tmp_path / "order.jsonl"), Order)
    assert caught.value.code == 2
    with pytest.raises(Stop, match=r"cannot be read: Is a directory\."):
        read_inputs(str(tmp_path), Order)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(Stop, match=r"broken\.json cannot be used: it is no JSON"):
        read_inputs(str(tmp_path / "broken.json"), Order)
