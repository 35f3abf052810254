"""The commands read and write an encoded store by ``--codec``."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.shell import Shop

STORE = ("--store", "sqlite:///sagas.db")
CODEC = ("--codec", "keys.py:codec")
KEY = base64.b64encode(b"k" * 32).decode()

KEYS = """
import os
from allframe.events import EncryptionCodec, ZlibCodec

def codec():
    return [ZlibCodec(), EncryptionCodec(os.environ["STORE_KEY"])]

instance = ZlibCodec()
nothing = []
number = 17
secret = "s3cret"

def broken():
    return "s3cret"
"""


@pytest.fixture
def encrypted(shop: Shop) -> Shop:
    """A shop whose store is encrypted, with a saga that completed and one that failed."""
    (shop.folder / "keys.py").write_text(KEYS)
    file = shop.orders({"$id": "a", "item": "plain-tea"}, {"$id": "b", "item": "glue"})
    shop.run("run", "shop.py:Order", file, *STORE, *CODEC, code=1, env={"STORE_KEY": KEY})
    return shop


def test_what_runs_is_encrypted_and_the_commands_read_it(encrypted: Shop) -> None:
    env = {"STORE_KEY": KEY}

    listed = encrypted.run("list", *STORE, *CODEC, env=env).stdout
    shown = encrypted.run("show", "a", *STORE, *CODEC, env=env).stdout
    watched = encrypted.run("watch", "a", *STORE, *CODEC, "--after", "0", "--until-done", "--json", env=env).stdout

    assert b"plain-tea" not in (encrypted.folder / "sagas.db").read_bytes()
    assert "2 of 2 sagas." in listed
    assert '{"item":"plain-tea","wait":0.0}' in shown
    assert json.loads(watched.splitlines()[0])["kind"] == "started"


def test_orders_and_services_use_it_and_the_variable_does_as_well(encrypted: Shop) -> None:
    env = {"STORE_KEY": KEY, "ALLFRAME_CODEC": "keys.py:codec"}

    skipped = encrypted.run("skip", "b", "reserve", *STORE, "--reason", "plain-reason", env=env).stdout
    encrypted.run("work", "shop.py", *STORE, "--until-idle", env=env)
    shown = json.loads(encrypted.run("show", "b", *STORE, "--json", env=env).stdout)

    assert "b:" in skipped or "'b'" in skipped
    assert shown["status"] == "compensated"
    assert b"plain-reason" not in (encrypted.folder / "sagas.db").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("cancel", "b"), 2, "failed"),  # it is rolled back already, as far as it can be
        (("retry", "b"), 0, "compensating"),
        (("abandon", "b", "--yes"), 0, "abandoned"),
        (("skip", "b", "reserve"), 0, "compensated"),
        (("resolve", "b", "reserve", "done"), 2, "failed"),  # nobody doubts that it took effect
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_every_order_takes_it(encrypted: Shop, arguments: tuple[str, ...], code: int, status: str) -> None:
    env = {"STORE_KEY": KEY}

    done = encrypted.run(*arguments, "--reason", "plain-reason", *STORE, *CODEC, code=code, env=env)
    shown = json.loads(encrypted.run("show", "b", *STORE, *CODEC, "--json", env=env).stdout)

    assert "AF404" not in done.stderr
    assert shown["status"] == status
    assert b"plain-reason" not in (encrypted.folder / "sagas.db").read_bytes()


def test_what_shows_events_takes_it(shop: Shop) -> None:
    (shop.folder / "keys.py").write_text(KEYS)
    packed = ("--codec", "keys.py:instance")
    shop.run("run", "shop.py:Order", json.dumps({"$id": "a", "item": "tea" * 100}), *STORE, *packed)

    read = shop.run("events", "read", "$saga/a", *STORE, *packed).stdout
    stats = shop.run("events", "stats", *STORE, *packed).stdout
    tail = shop.start("events", "tail", *STORE, *packed, "--after", "0", "--system")
    with tail:
        assert tail.stdout is not None
        tailed = [tail.stdout.readline() for _ in range(2)]
        tail.kill()

    assert '"tea' + "tea" * 50 in read
    assert "zlib" in stats
    assert any('"tea' + "tea" * 50 in line for line in tailed)


def test_a_service_takes_it(encrypted: Shop) -> None:
    env = {"STORE_KEY": KEY}
    encrypted.run("retry", "b", "--reason", "mended", *STORE, *CODEC, env=env)

    encrypted.run("work", "shop.py", *STORE, *CODEC, "--until-idle", code=1, env=env)
    shown = json.loads(encrypted.run("show", "b", *STORE, *CODEC, "--json", env=env).stdout)

    assert shown["status"] == "failed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("show", "a"),
        ("watch",),
        ("cancel", "a", "--reason", "x"),
        ("run", "shop.py:Order", '{"item": "tea"}'),
        ("work", "shop.py"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_it_the_message_says_what_to_do(encrypted: Shop, arguments: tuple[str, ...]) -> None:
    before = encrypted.book

    done = encrypted.run(*arguments, *STORE, code=3)

    assert "AF404: The event at position " in done.stderr
    assert "is encoded by 'aes-256-gcm', and this store was opened without a codec." in done.stderr
    assert "on the command line --codec MODULE:NAME." in done.stderr
    assert encrypted.book == before


def test_a_wrong_key_is_named_by_its_id_and_never_shown(encrypted: Shop) -> None:
    other = base64.b64encode(b"o" * 32).decode()

    done = encrypted.run("list", *STORE, *CODEC, code=3, env={"STORE_KEY": other})

    assert "it was encrypted with the key " in done.stderr
    assert KEY not in done.stderr
    assert other not in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "--codec: keys.py names a module. Expected keys.py:NAME, where NAME is a codec."),
        (":codecs", "--codec: keys.py has no 'codecs'. Did you mean 'codec'?"),
        (
            ":number",
            "--codec: keys.py:number gives int. Expected a codec, which has a name, encode() and decode(), such",
        ),
        (":nothing", "--codec: keys.py:nothing gives list. Expected a codec"),
        (":secret", "--codec: keys.py:secret gives str. Expected a codec"),
        (":broken", "--codec: keys.py:broken gives str. Expected a codec"),
        (":codec", "--codec: keys.py:codec fails: KeyError: 'STORE_KEY'"),
    ],
)
def test_what_is_no_codec_is_refused(shop: Shop, name: str, text: str) -> None:
    (shop.folder / "keys.py").write_text(KEYS)

    done = shop.run("list", *STORE, "--codec", f"keys.py{name}", code=2)

    assert text in done.stderr
    assert "s3cret" not in done.stderr


def test_a_key_that_is_none_is_not_quoted(shop: Shop) -> None:
    (shop.folder / "keys.py").write_text(KEYS)

    done = shop.run("list", *STORE, *CODEC, code=2, env={"STORE_KEY": "s3cret"})

    assert "keys.py:codec fails: ValueError: Key 1 has 4 bytes. Expected 32 random bytes" in done.stderr
    assert "s3cret" not in done.stderr


def test_an_instance_does_as_well(shop: Shop) -> None:
    (shop.folder / "keys.py").write_text(KEYS)
    codec = ("--codec", "keys.py:instance")

    shop.run("run", "shop.py:Order", json.dumps({"$id": "a", "item": "tea" * 100}), *STORE, *codec)

    assert "tea" * 50 in shop.run("show", "a", *STORE, *codec).stdout
    assert b"tea" * 50 not in (shop.folder / "sagas.db").read_bytes()
    listed = shop.run("list", *STORE).stdout  # its newest record is too small to be packed
    assert "Its records cannot be read: The event at position " in listed
    assert "is encoded by 'zlib', and this store was opened without a codec." in listed
