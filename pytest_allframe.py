"""The pytest plugin of allframe: fixtures for testing sagas, and their types checked while they run.

It stands outside the package, so that pytest can load it without importing allframe: that happens when a test asks for
one of the fixtures, or imports it itself. No fixture is async, so they go with anyio's plugin and with any other that
runs async tests. ``allframe.testing`` has the rest, and the docs.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from allframe import SagaOrchestrator
    from allframe.testing import SagaRun, VirtualClock

pytest.register_assert_rewrite(
    *(f"allframe.testing.{name}" for name in ("backends", "backend_commits", "backend_reads"))
)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "check the types inside steps and compensations while they run, where typeguard is installed (default: true)"
    parser.addini("allframe_typecheck", text, type="bool", default=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Sagas that do not say whether their types are checked have them checked in tests."""
    # pytest_allframe does not import allframe: in tests that do not use it there is nothing to check.
    if not item.config.getini("allframe_typecheck") or "allframe" not in sys.modules:
        return (yield)
    from allframe.saga.typechecking import by_default

    before = by_default(True)
    try:
        return (yield)
    finally:
        by_default(before)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock for this test, whose time jumps. An event loop runs by it if ``anyio_backend`` says so::

    @pytest.fixture(params=["asyncio", "uvloop", "trio"])
    def anyio_backend(request, virtual_clock):
        return virtual_clock.backend(request.param)
    """
    from allframe.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def saga_store_url(tmp_path: Path) -> str:
    """The URL of a fresh SQLite store. It does not wait for the disk: a test does not lose power."""
    return f"sqlite:///{tmp_path / 'sagas.db'}?durability=process"


@pytest.fixture
def saga_orchestrator() -> Callable[..., SagaOrchestrator]:
    """Makes orchestrators: ``async with saga_orchestrator(provide={...}) as orchestrator``.

    It takes what `SagaOrchestrator` takes: a store in memory, if none is given; the clock of the loop, if that is
    virtual.
    """
    from allframe import SagaOrchestrator
    from allframe.testing import VirtualClock

    def make(store: Any = None, **options: Any) -> SagaOrchestrator:
        options.setdefault("clock", VirtualClock.running())
        return SagaOrchestrator(store, **options)

    return make


@pytest.fixture
def run_saga() -> Callable[..., Awaitable[SagaRun]]:
    """`allframe.testing.run_saga`, for async tests."""
    from allframe.testing import run_saga

    return run_saga


@pytest.fixture
def run_saga_sync() -> Callable[..., SagaRun]:
    """`allframe.testing.run_saga_sync`, for all others."""
    from allframe.testing import run_saga_sync

    return run_saga_sync
