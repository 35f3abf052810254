"""TARGET is a module or a file, and a class exists once however it is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from allframe import DefinitionError
from allframe.cli.exits import Exit, Stop
from allframe.cli.target import load_module, load_target, sagas_of, split, versions_of

SAGA = """
from allframe import Saga, step

class Order(Saga, name="{name}"):
    item: str

    @step(readonly=True)
    async def look(self) -> None: ...
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: str, name: str, more: str = "") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(SAGA.format(name=name) + more)


def test_splits_at_the_last_colon() -> None:
    assert split("a.b:C") == ("a.b", "C")
    assert split("a/b.py:C") == ("a/b.py", "C")
    assert split("a.b") == ("a.b", "")
    assert split("C:/b.py") == ("C:/b.py", "")


def test_finds_a_saga_in_a_file_and_in_a_module() -> None:
    write("orders_a.py", "test.target.a")

    assert load_target("orders_a.py:Order").saga is load_target("orders_a:Order").saga
    assert load_target("orders_a:Order").saga.__name__ == "Order"
    assert load_target("orders_a").saga.__name__ == "Order", "the only one need not be named"


def test_a_base_for_sagas_is_not_among_them_and_says_what_it_is() -> None:
    write("orders_b.py", "test.target.b", "\nclass Base(Saga, abstract=True): ...\n")

    assert load_target("orders_b").saga.__name__ == "Order", "the only one that can be run"
    assert list(sagas_of(load_module("orders_b"))) == ["Order"]
    with pytest.raises(DefinitionError, match="Base is abstract=True: it may lack steps, and cannot be run"):
        _ = load_target("orders_b:Base").saga.graph


def test_a_file_in_a_package_is_imported_by_its_dotted_name() -> None:
    write("pack/__init__.py", "test.target.init")
    write("pack/deep/__init__.py", "test.target.deep")
    write("pack/deep/orders.py", "test.target.pack")

    by_file = load_target("pack/deep/orders.py:Order")

    assert by_file.module.__name__ == "pack.deep.orders"
    assert by_file.saga is load_target("pack.deep.orders:Order").saga


def test_a_file_that_no_import_would_find_has_a_name_of_its_own() -> None:
    write("json.py", "test.target.json")
    write("some-orders.py", "test.target.some")

    for file in ("json.py", "some-orders.py"):
        target = load_target(f"{file}:Order")
        assert target.module.__name__.startswith("_allframe_file_")
        assert load_target(f"./{file}:Order").saga is target.saga
    assert sys.modules["json"].__name__ == "json"
    assert hasattr(sys.modules["json"], "loads")


def test_a_file_can_import_what_lies_beside_it() -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/helper_b.py").write_text("NAME = 'test.target.b'")
    write("elsewhere/orders_b.py", "test.target.b", "from helper_b import NAME")

    assert load_target("elsewhere/orders_b.py:Order").saga.graph.saga == "test.target.b"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("orders_c.py:Oder", "orders_c.py has no saga 'Oder'. Did you mean orders_c.py:Order? The sagas of"),
        ("orders_c.py:step", "orders_c.py:step is no saga: it is a function. The sagas of orders_c.py are: Order."),
        ("orders_c.py:Saga", "orders_c.py:Saga is no saga: it is a class."),
        ("order_c.py:Order", "There is no file order_c.py. Did you mean orders_c.py?"),
        ("nowhere/x.py:Order", "There is no file nowhere/x.py."),
        ("folder/:Order", "folder is a folder. Name a file in it, such as folder/sagas.py:Order"),
        ("no_such_thing.at.all:Order", "There is no module 'no_such_thing'. It is looked for in "),
        ("orders_c.deep:Order", "There is no module 'orders_c.deep'"),
        ("a b:Order", "'a b' is no module name. Expected package.module:Saga or path/to/file.py:Saga."),
        (":Order", "TARGET names no module. Expected package.module:Saga or path/to/file.py:Saga."),
        ("empty_c.py", "empty_c.py names no saga. Write empty_c.py:NAME; empty_c.py has no sagas."),
    ],
)
def test_says_what_is_wrong_with_a_target(target: str, said: str) -> None:
    write("orders_c.py", "test.target.c")
    Path("empty_c.py").write_text("")
    Path("folder").mkdir()

    with pytest.raises(Stop) as caught:
        load_target(target)

    assert str(caught.value).startswith(said.split("such as")[0])
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("import not_installed_at_all", "ModuleNotFoundError: No module named 'not_installed_at_all'"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_module_that_cannot_be_imported_is_no_definition(text: str, said: str) -> None:
    Path("broken_d.py").write_text(text)

    for place in ("broken_d.py", "broken_d"):
        with pytest.raises(Stop) as caught:
            load_module(place)
        assert said in str(caught.value)
        assert "broken_d.py:1" in str(caught.value)
        assert caught.value.code == Exit.DEFINITION
        assert "broken_d" not in sys.modules


def test_a_bad_definition_is_told_as_it_is() -> None:
    Path("bad_e.py").write_text("from allframe import Saga\nclass Empty(Saga): ...\n")

    with pytest.raises(DefinitionError, match="AF111"):
        load_module("bad_e.py")


VERSIONS = """
from typing import ClassVar
from pydantic import BaseModel
from allframe import VersionRegistry, upcasts

class Account(BaseModel):
    snapshot_name: ClassVar[str] = "{name}"
    snapshot_version: ClassVar[int] = 2

@upcasts("{name}", from_version=1)
def lift(data):
    return data

versions = same = VersionRegistry([lift], models=[Account])
"""


def test_the_registries_of_several_modules_become_one(shop: Path) -> None:
    for name in ("first", "second"):
        (shop / f"{name}.py").write_text(VERSIONS.format(name=f"test_target.{name}"))
    first, second = load_module("first.py"), load_module("second.py")

    merged = versions_of([first, second])

    assert versions_of([sys]) is None
    assert versions_of([first]) is first.versions
    assert merged is not None
    merged.check()
    assert [path.type for path in merged.get_migrations()] == ["test_target.first", "test_target.second"]
