"""The pytest plugin, in projects of its users' own: loaded by its name, by installation, twice."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import pytest_allframe
from tests.sources import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLES = ("transfer_money.py", "test_transfer_money.py")

PROJECT = {
    "trips": """
        from allframe import Saga, step, compensates

        class Trip(Saga):
            @step(timeout=10)
            async def hotel(self) -> str:
                return "room 7"

            @compensates("hotel")
            async def free(self) -> None: ...

            @step(timeout=10)
            async def car(self) -> str:
                return "car 9"
    """,
    "conftest": """
        import pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request, virtual_clock):
            return virtual_clock.backend(request.param)
    """,
    "test_trips": """
        import anyio, pytest
        from allframe.testing import Timeout
        from trips import Trip

        @pytest.mark.anyio
        async def test_async(run_saga, virtual_clock):
            await anyio.sleep(3600)
            run = await run_saga(Trip(), outcomes={"car": Timeout})
            assert run.trace == ["hotel", "car: timed out"]
            assert virtual_clock.time() == 3610

        @pytest.mark.anyio
        async def test_orchestrator(saga_orchestrator, saga_store_url, virtual_clock):
            async with saga_orchestrator(saga_store_url) as orchestrator:
                await orchestrator.execute(Trip(), id="one")
                assert (await orchestrator.get_saga("one")).started_at == virtual_clock.now()

        def test_plain(run_saga_sync):
            assert run_saga_sync(Trip()).trace == ["hotel", "car"]
    """,
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder outside of the repository, where allframe can be imported."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def install(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation leaves for pytest to find, with the entry point of pyproject.toml."""
    point = re.search(r"^\[project\.entry-points\.pytest11\]\n(.*?)\n$", _pyproject(), flags=re.MULTILINE | re.DOTALL)
    assert point is not None
    info = pytester.mkdir("site") / "allframe_as_installed-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: allframe-as-installed\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\n" + point[1].replace('"', "") + "\n")
    monkeypatch.setenv("PYTHONPATH", f"{info.parent}:{ROOT}")


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("installed", "options"),
    [
        (False, ("-p", "allframe.testing.plugin")),
        (False, ("-p", "pytest_allframe", "-p", "allframe.testing.plugin")),
        (True, ()),
        (True, ("-p", "allframe.testing.plugin", "-p", "pytest_allframe")),
    ],
)
def test_a_users_project_has_the_fixtures(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, installed: bool, options: tuple[str, ...]
) -> None:
    project.makepyfile(**PROJECT)
    if installed:
        install(project, monkeypatch)

    result = project.runpytest_subprocess("-W", "error", *options)

    result.assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("installed", "options"), [(False, ()), (True, ()), (False, ("-p", "allframe.testing.plugin"))]
)
def test_our_own_tests_run_with_and_without_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, installed: bool, options: tuple[str, ...]
) -> None:
    if installed:
        install(project, monkeypatch)
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("ALLFRAME_LOOPS", raising=False)
    test = "tests/testing/test_clock.py::test_an_hour_passes_on_the_loop_and_on_the_wall"

    result = project.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, test)

    result.stdout.fnmatch_lines("2 passed*")


def test_loading_it_imports_nothing() -> None:
    program = (
        "import sys, pytest_allframe; print(sorted(sys.modules.keys() & {'allframe', 'anyio', 'pydantic', 'trio'}))"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stdout.strip() == "[]"


def test_without_a_loop_that_follows_it_the_orchestrator_runs_in_real_time(project: pytest.Pytester) -> None:
    project.makepyfile(
        trips=PROJECT["trips"],
        test_trips="""
        import datetime, pytest
        from trips import Trip

        @pytest.mark.anyio
        async def test_orchestrator(saga_orchestrator):
            async with saga_orchestrator() as orchestrator:
                await orchestrator.execute(Trip(), id="one")
                age = datetime.datetime.now(datetime.UTC) - (await orchestrator.get_saga("one")).started_at
                assert age.total_seconds() < 60
        """,
    )

    project.runpytest_subprocess("-p", "allframe.testing.plugin").assert_outcomes(passed=2)


@pytest.mark.parametrize("options", [("-p", "allframe.testing.plugin"), ()], ids=["by name", "installed"])
def test_its_fixtures_work_where_tests_are_spread_over_processes(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """By pytest-xdist, whose workers are told which plugins the first process was given by name."""
    pytest.importorskip("xdist")
    if not options:
        install(project, monkeypatch)
    project.makepyfile(**PROJECT)

    result = project.runpytest_subprocess("-W", "error", "-n", "2", "-v", *options)

    result.assert_outcomes(passed=5)
    assert set(re.findall(r"^\[(gw\d)\]", result.stdout.str(), flags=re.MULTILINE)) == {"gw0", "gw1"}


@pytest.mark.parametrize(
    ("ini", "error"),
    [("", "StepUnknown"), ("allframe_typecheck = true", "StepUnknown"), ("allframe_typecheck = no", "None")],
)
def test_types_are_checked_in_tests_unless_the_project_says_no(project: pytest.Pytester, ini: str, error: str) -> None:
    project.makeini(f"[pytest]\n{ini}\n")
    project.makepyfile(
        trips="""
        from allframe import Saga, step

        class Trip(Saga):
            @step(readonly=True)
            async def hotel(self) -> int:
                room: int = "seven"
                return len(room)
        """,
        test_trips=f"""
        from trips import Trip

        def test_trip(run_saga_sync):
            assert type(run_saga_sync(Trip()).error).__name__.replace("NoneType", "None") == {error!r}
        """,
    )

    project.runpytest_subprocess("-W", "error", "-p", "allframe.testing.plugin").assert_outcomes(passed=1)


def test_types_are_checked_only_while_tests_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import allframe
        from allframe.saga import typechecking

        def test_on():
            assert typechecking.is_on(None)
            assert not typechecking.is_on(False)
        """
    )
    project.makeconftest("""
        import allframe
        from allframe.saga import typechecking

        def pytest_sessionfinish():
            assert not typechecking.is_on(None)
    """)

    result = project.runpytest_subprocess("-W", "error", "-p", "allframe.testing.plugin")

    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_every_fixture_is_documented() -> None:
    fixtures = {
        name for name, value in vars(pytest_allframe).items() if type(value).__name__.startswith("FixtureFunction")
    }
    table = PAGE.partition("## Fixtures")[2].partition("```python")[0]

    assert fixtures
    assert {name for name in fixtures if f"`{name}`" not in table} == set()


# --- what is written for users runs ----------------------------------------------------------------------------------


def test_the_page_about_testing_says_what_is_true(project: pytest.Pytester) -> None:
    """Its blocks are the files of a project; each begins with the name of its file."""
    blocks = re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    files: dict[str, str] = {}
    for name, text in blocks:
        files[name] = files.get(name, "") + text
    project.makepyfile(**files)
    tests = set(re.findall(r"^\s*(?:async )?def (test_\w+)", PAGE, flags=re.MULTILINE))

    result = project.runpytest_subprocess("-v", "-p", "allframe.testing.plugin")

    outcomes = result.parseoutcomes()
    assert outcomes.keys() <= {"passed", "skipped", "warnings"}, result.stdout.str()
    assert len(blocks) == PAGE.count("```python")
    passed = set(re.findall(r"::(test_\w+)(?:\[.*\])? PASSED", result.stdout.str()))
    assert tests <= passed
    assert "test_a_second_claim_names_the_first" in passed


def test_a_backend_that_says_nothing_of_itself_is_told_how(project: pytest.Pytester) -> None:
    project.makepyfile(
        "from allframe.testing.backends import BackendContract\n\nclass TestMine(BackendContract): ...\n"
    )

    result = project.runpytest_subprocess("-p", "allframe.testing.plugin", "-k", "stats")

    result.stdout.fnmatch_lines("*TestMine does not say how its backend is made. Override the fixture make_backend*")


def test_a_backend_that_breaks_the_contract_fails(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from allframe.events.memory import MemoryBackend
        from allframe.testing.backends import BackendContract

        class Forgetful(MemoryBackend):
            async def get_head(self, stream):
                return None

        class TestForgetful(BackendContract):
            @pytest.fixture
            def make_backend(self):
                return Forgetful
        """
    )

    result = project.runpytest_subprocess("-p", "allframe.testing.plugin", "-k", "head and asyncio")

    assert result.parseoutcomes()["failed"] >= 2
    result.stdout.fnmatch_lines("E *assert None == Head(*")


def test_the_example_is_tested_as_its_users_would(project: pytest.Pytester) -> None:
    for name in EXAMPLES:
        (project.path / name).write_text((ROOT / "examples" / name).read_text(encoding="utf-8"), encoding="utf-8")

    result = project.runpytest_subprocess("-W", "error", "test_transfer_money.py")

    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= 10
