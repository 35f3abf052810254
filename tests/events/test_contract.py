"""The contract of a backend, over every backend that allframe brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from allframe.events import EncryptionCodec, ZlibCodec
from allframe.events.coded import CodedBackend
from allframe.events.memory import MemoryBackend
from allframe.events.sqlite import SqliteBackend
from allframe.testing.backends import BackendContract, MakeBackend


class TestMemory(BackendContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        return MemoryBackend


class TestSqlite(BackendContract):
    @pytest.fixture
    def make_backend(self, tmp_path: Path) -> MakeBackend:
        return lambda: SqliteBackend(tmp_path / "store.db")


class TestPacked(BackendContract):
    @pytest.fixture
    def make_backend(self, tmp_path: Path) -> MakeBackend:
        return lambda: CodedBackend(SqliteBackend(tmp_path / "store.db"), ZlibCodec())


class TestPackedInMemory(BackendContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        return lambda: CodedBackend(MemoryBackend(), ZlibCodec())


class TestEncrypted(BackendContract):
    @pytest.fixture
    def make_backend(self, tmp_path: Path) -> MakeBackend:
        codecs = [ZlibCodec(), EncryptionCodec(b"k" * 32)]
        return lambda: CodedBackend(SqliteBackend(tmp_path / "store.db"), codecs)


class TestEncryptedInMemory(BackendContract):
    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        return lambda: CodedBackend(MemoryBackend(), EncryptionCodec(b"k" * 32))
