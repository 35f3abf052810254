"""Every async test runs on asyncio, uvloop and trio, but for the few that are listed here."""

from __future__ import annotations

import ast

from tests.sources import ROOT

#: Tests that do not run on every event loop: why.
OPT_OUTS: dict[str, str] = {
    "tests/events/test_sqlite_reading.py::test_a_read_that_waits_while_the_store_is_closed_is_answered": (
        "in real time, on asyncio and trio: a virtual clock would wait for the reader"
    ),
    "tests/saga/test_races.py::test_a_native_cancel_of_a_sagas_task_makes_the_orchestrator_leave_and_tells_who_waits": (
        "trio has no Task.cancel"
    ),
    "tests/saga/test_races.py::test_a_native_cancel_while_entering_gives_the_claim_back": "trio has no Task.cancel",
    "tests/saga/test_rollback.py::test_a_caller_cancelled_natively_five_times_does_not_stop_a_rollback": (
        "trio has no Task.cancel"
    ),
    "tests/saga/test_rollback.py::test_a_cancelled_error_of_a_compensation_s_own_is_a_failure_of_it": (
        "trio.Cancelled cannot be made"
    ),
    "tests/saga/test_rollback.py::test_the_owner_of_the_orchestrator_cancelled_natively_five_times": (
        "trio has no Task.cancel"
    ),
    "tests/saga/test_steps_end.py::test_a_cancelled_error_of_its_own": "trio.Cancelled cannot be made",
    "tests/testing/test_clock.py::test_a_thread_of_asyncios_own_is_not_overtaken": "about asyncio.to_thread",
    "tests/testing/test_clock.py::test_a_thread_of_trios_own_is_not_overtaken": "about trio.to_thread",
}
_MARKS = {"ASYNCIO_ONLY", "TRIO_ONLY"}


def test_only_these_do_not_run_on_every_event_loop() -> None:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_opts_out, node.decorator_list)):
                found.add(f"{path.relative_to(ROOT)}::{node.name}")

    assert found == OPT_OUTS.keys()


def _opts_out(decorator: ast.expr) -> bool:
    """Whether it says on which loops a test runs."""
    text = ast.unparse(decorator)
    return text in _MARKS or ("parametrize" in text and "anyio_backend" in text)
