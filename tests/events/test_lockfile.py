"""Whoever holds a file for a moment only is waited for; an owner is not."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from allframe.errors import StoreInUse
from allframe.events import lockfile
from allframe.events.lockfile import LockFile


def hold(path: Path, **said: object) -> int:
    """Lock it as another process would; closing the descriptor that this returns lets go."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.pwrite(descriptor, json.dumps({"pid": 4711, "host": "bank1", "since": "noon", **said}).encode(), 0)
    return descriptor


def test_a_short_holder_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = hold(tmp_path / "store.db", brief=True)
    waited = []

    def let_go(seconds: float) -> None:
        waited.append(seconds)
        os.close(descriptor)

    monkeypatch.setattr("allframe.events.lockfile.time.sleep", let_go)
    lock = LockFile(str(tmp_path / "store.db"))
    lock.acquire("here")

    assert len(waited) == 1
    assert json.loads((tmp_path / "store.db.lock").read_bytes())["pid"] == os.getpid()
    lock.release()


@pytest.mark.parametrize("said", [{}, {"brief": False}], ids=["an older one", "an owner"])
def test_an_owner_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, object]) -> None:
    descriptor = hold(tmp_path / "store.db", **said)
    monkeypatch.setattr("allframe.events.lockfile.time.sleep", lambda seconds: pytest.fail("it waited"))

    with pytest.raises(StoreInUse, match="is in use by process 4711 on bank1 since noon"):
        LockFile(str(tmp_path / "store.db")).acquire("here")
    os.close(descriptor)


def test_a_short_holder_that_stays_is_waited_for_no_longer_than_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = hold(tmp_path / "store.db", brief=True)
    monkeypatch.setattr(lockfile, "BRIEF", 0.05)

    with pytest.raises(StoreInUse):
        LockFile(str(tmp_path / "store.db")).acquire("here")
    os.close(descriptor)
