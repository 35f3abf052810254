from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shop, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def shop(tmp_path: Path, zygote: Zygote) -> Shop:
    """A folder with a small shop, and a shell in it."""
    return Shop(tmp_path, zygote)
