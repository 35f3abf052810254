"""``allframe work``: it goes on with what is unfinished, and stops as a service manager expects."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from allframe.cli.session import STORE_PATIENCE
from tests.cli.shell import Shop, end, environment, wait_until

STORE = ("--store", "sqlite:///sagas.db")
WORK = ("work", "jobs.py", *STORE)

#: A saga whose first step ends when there is a file named ``go``. What it is about says how it ends.
JOBS = """
from __future__ import annotations

from pathlib import Path

import anyio

from allframe import Refused, Retry, Saga, StepContext, Unknown, compensates, step


def note(what: str) -> None:
    with Path("book.txt").open("a") as file:
        file.write(what + "\\n")


class Job(Saga, name="job"):
    about: str

    @step(timeout=None)
    async def first(self, ctx: StepContext) -> None:
        note(f"first {ctx.saga_id}")
        while not Path("go").exists():
            await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        note(f"first {ctx.saga_id} ended")

    @compensates("first", retry=Retry(attempts=1))
    async def undo(self) -> None:
        if self.about == "glue":
            raise RuntimeError("it sticks")

    @step(readonly=True)
    async def second(self, ctx: StepContext) -> None:
        if self.about != "tea":
            raise Refused("too dear\\x1b[2J")
        note(f"second {ctx.saga_id}")
"""

#: A saga that injects an object of a class of its own.
LAMP = """
from allframe import Inject, Saga, step

class {name}:
    pass

class Use{name}(Saga):
    @step
    async def one(self, it: Inject[{name}]) -> None: ...
"""

Start = Callable[..., "subprocess.Popen[str]"]
Leave = Callable[..., None]


@pytest.fixture
def start(shop: Shop) -> Iterator[Start]:
    """A command in the background, that ends with the test."""
    processes = []

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "allframe", *arguments],
            cwd=shop.folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whoever runs these tests in the background has SIGINT ignored, and what it starts inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def leave(shop: Shop, start: Start) -> Leave:
    """Begin jobs, id -> what about, in a process that is killed in the middle of their first step."""
    (shop.folder / "jobs.py").write_text(JOBS)

    def leave(**jobs: str) -> None:
        file = shop.orders(*({"$id": name, "about": about} for name, about in jobs.items()))
        process = start("run", "jobs.py:Job", file, *STORE)
        wait_until(process, lambda: set(shop.book) == {f"first {name}" for name in jobs})
        process.kill()
        process.communicate()
        (shop.folder / "book.txt").unlink()

    return leave


def go(shop: Shop) -> None:
    """Let first steps end."""
    (shop.folder / "go").touch()


def said(stream: IO[str] | None, beginning: str) -> str:
    """The first line that begins so, of what is said from here on."""
    assert stream is not None
    for line in stream:
        if line.startswith(beginning):
            return line.rstrip("\n")
    raise AssertionError(f"it never said {beginning!r}")


def statuses(shop: Shop) -> dict[str, str]:
    lines = shop.run("list", *STORE, "--json").stdout.splitlines()
    return {saga["id"]: saga["status"] for saga in map(json.loads, lines)}


# --- going on --------------------------------------------------------------------------------------------------------


def test_ends_what_another_process_left_unfinished(shop: Shop, leave: Leave) -> None:
    leave(a="tea", b="tea")
    go(shop)

    lines = shop.run(*WORK, "--until-idle").stdout.splitlines()

    assert lines[0] == "Working on sqlite:///sagas.db. To go on with: 2 executing."
    assert sorted(lines[1:3]) == ["completed job a", "completed job b"]
    assert lines[3].startswith("Nothing runs any more, after ")
    assert lines[3].endswith(". Ended: 2 completed.")
    assert statuses(shop) == {"a": "completed", "b": "completed"}
    assert sorted(shop.book) == sorted(
        [f"first {name}" for name in "ab"] + [f"first {name} ended" for name in "ab"] + ["second a", "second b"]
    )


def test_says_why_a_saga_did_not_complete_and_ends_with_1(shop: Shop, leave: Leave) -> None:
    leave(a="gold", b="glue")
    go(shop)

    done = shop.run(*WORK, "--until-idle", code=1)

    assert "compensated job a: second: allframe.Refused: too dear\\x1b[2J\n" in done.stdout
    assert "failed job b: still in effect: first\n" in done.stdout
    assert done.stdout.splitlines()[-1].split(". ")[1] in (
        "Ended: 1 compensated, 1 failed.",
        "Ended: 1 failed, 1 compensated.",
    )
    assert shop.run(*WORK, "--until-idle").stdout.startswith(
        "Working on sqlite:///sagas.db. To go on with: none. 1 wait for a person: allframe list shows them.\n"
    )


def test_a_rollback_alone_is_1_as_well(shop: Shop, leave: Leave) -> None:
    leave(a="gold")
    go(shop)

    assert shop.run(*WORK, "--until-idle", code=1).stdout.endswith("Ended: 1 compensated.\n")


@pytest.mark.usefixtures("leave")
def test_a_store_in_which_nothing_is_to_be_done(shop: Shop) -> None:
    done = shop.run(*WORK, "--until-idle")

    assert done.stdout.startswith("Working on sqlite:///sagas.db. To go on with: none.\nNothing runs any more, after ")
    assert done.stderr == ""


def test_a_saga_whose_class_is_not_there_is_blocked_and_goes_on_when_it_is(shop: Shop, leave: Leave) -> None:
    leave(a="tea")
    go(shop)
    (shop.folder / "lamp.py").write_text(LAMP.format(name="Lamp") + "\nprovide = {Lamp: Lamp()}\n")

    blocked = shop.run("work", "lamp.py", *STORE, "--until-idle", code=1)
    mended = shop.run("work", "lamp.py", "jobs.py", *STORE, "--until-idle")

    assert "blocked job a: This program has no saga class 'job' of version 1." in blocked.stdout
    assert "ERROR: saga a is blocked: This program has no saga class 'job' of version 1." in blocked.stderr
    assert mended.stdout.startswith("Working on sqlite:///sagas.db. To go on with: 1 blocked.\ncompleted job a\n")


def test_so_many_run_at_once(shop: Shop, leave: Leave) -> None:
    leave(a="tea", b="tea", c="tea")
    go(shop)

    shop.run(*WORK, "--until-idle", "--max-running", "1")

    # One after the other: nobody else's line stands between those of one job.
    assert [line.split()[1] for line in shop.book] == [*"aaabbbccc"]


# --- stopping --------------------------------------------------------------------------------------------------------


def test_runs_until_sigterm_lets_running_steps_end_and_exits_0(shop: Shop, leave: Leave, start: Start) -> None:
    leave(a="tea")
    process = start(*WORK)
    wait_until(process, lambda: shop.book == ["first a"])

    process.send_signal(signal.SIGTERM)
    assert said(process.stderr, "Leaving") == "Leaving: running steps get 10 s to end. Once more to leave at once."
    go(shop)
    output, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    assert "Stopped by SIGTERM after " in output
    assert output.endswith("Ended: none. Unfinished: 1 executing; the next start goes on.\n")
    assert shop.book == ["first a", "first a ended"]
    shop.run(*WORK, "--until-idle")
    assert shop.book[2:] == ["second a"], "the step that ended was recorded"


def test_stays_when_nothing_runs(shop: Shop, leave: Leave, start: Start) -> None:
    leave(a="tea")
    go(shop)
    process = start(*WORK)

    assert said(process.stdout, "completed") == "completed job a"
    assert process.poll() is None
    code, output, _ = end(process, signal.SIGTERM)

    assert (code, output.endswith("Ended: 1 completed.\n")) == (0, True)


def test_a_step_that_does_not_end_within_the_grace_is_cut_and_that_is_143(
    shop: Shop, leave: Leave, start: Start
) -> None:
    leave(a="tea")
    process = start(*WORK, "--grace", "0.2")
    wait_until(process, lambda: shop.book == ["first a"])

    code, output, errors = end(process, signal.SIGTERM)

    assert code == 143
    assert "Leaving: running steps get 0.2 s to end." in errors
    assert "WARNING: saga a: step first did not end in time and is dropped" in errors
    assert "Stopped by SIGTERM. What was begun is recorded: the same command continues it." in errors
    assert output.endswith("Cut in the middle of a step: a.\n")
    go(shop)
    shop.run(*WORK, "--until-idle")
    assert shop.book == ["first a", "first a", "first a ended", "second a"]


@pytest.mark.usefixtures("leave")
def test_ctrl_c_is_130(start: Start) -> None:
    process = start(*WORK)
    said(process.stdout, "Working on")

    code, output, errors = end(process, signal.SIGINT)

    assert (code, "Stopped by SIGINT after " in output) == (130, True)
    assert "Stopped by SIGINT." in errors


def test_a_second_signal_leaves_at_once(shop: Shop, leave: Leave, start: Start) -> None:
    leave(a="tea")
    process = start(*WORK, "--grace", "1000")
    wait_until(process, lambda: shop.book == ["first a"])

    process.send_signal(signal.SIGTERM)
    said(process.stderr, "Leaving")
    code, _, _ = end(process, signal.SIGTERM)

    assert (code, shop.book) == (143, ["first a"])


def test_a_step_that_cancels_its_own_task_ends_the_service_so_that_it_is_started_again(shop: Shop) -> None:
    (shop.folder / "rash.py").write_text(
        "import asyncio\n"
        "from allframe import Saga, step\n\n"
        "class Rash(Saga):\n"
        "    @step\n"
        "    async def leap(self) -> None:\n"
        "        asyncio.current_task().cancel()\n"
        "        await asyncio.sleep(0)\n"
    )
    done = shop.run("run", "rash.py:Rash", '{"$id": "r"}', *STORE, code=1)
    assert "The orchestrator left" in done.stdout

    done = shop.run("work", "rash.py", *STORE, code=1)

    assert (
        "allframe: The orchestrator left of its own accord: a step cancelled the task that it runs in." in done.stderr
    )
    assert "Stopped by an error after " in done.stdout


@pytest.mark.slow
def test_a_full_disk_does_not_end_it(shop: Shop, leave: Leave, start: Start) -> None:
    jobs = {f"j{number}": "tea" for number in range(60)}
    leave(**jobs)
    with closing(sqlite3.connect(shop.folder / "sagas.db")) as sql:
        sql.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
    go(shop)
    process = start("work", "jobs.py", "--store", f"sqlite:///sagas.db?max_page_count={pages}", "--grace", "0.1")
    said(process.stderr, "WARNING: saga j")

    # Longer than `allframe run` would have patience for.
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=STORE_PATIENCE + 1)
    code, output, _ = end(process, signal.SIGTERM)

    assert (code, "Cut in the middle of a step: " in output) == (143, True)
    shop.run(*WORK, "--until-idle")
    assert statuses(shop) == dict.fromkeys(jobs, "completed")


# --- one owner -------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(leave: Leave, start: Start) -> subprocess.Popen[str]:
    """A service that owns the store, and has nothing to do."""
    process = start(*WORK)
    said(process.stdout, "Working on")
    return process


def test_names_the_process_that_owns_the_store(shop: Shop, owner: subprocess.Popen[str]) -> None:
    done = shop.run(*WORK, code=3)

    assert done.stderr.startswith(f"allframe: AF401: {shop.folder}/sagas.db is in use by process {owner.pid} on ")
    assert done.stdout == ""


def test_waits_only_so_long(shop: Shop, owner: subprocess.Popen[str]) -> None:
    done = shop.run(*WORK, "--wait", "0.3", code=3)

    assert done.stderr.startswith(f"Waiting up to 0.3 s until process {owner.pid} on ")
    assert f"is in use by process {owner.pid} on " in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_takes_over_when_the_owner_leaves(shop: Shop, leave: Leave, start: Start, number: signal.Signals) -> None:
    leave(a="tea")
    owner = start(*WORK)
    wait_until(owner, lambda: shop.book == ["first a"])
    heir = start(*WORK, "--wait", "60")
    assert said(heir.stderr, "Waiting").startswith(f"Waiting up to 60 s until process {owner.pid} on ")

    owner.send_signal(number)
    if number is signal.SIGTERM:
        said(owner.stderr, "Leaving")
    go(shop)
    owner.communicate(timeout=30)

    assert said(heir.stdout, "completed") == "completed job a"
    assert end(heir, signal.SIGTERM)[0] == 0
    again = [] if number is signal.SIGTERM else ["first a"]
    assert shop.book == ["first a", *again, "first a ended", "second a"]


def test_can_be_stopped_while_it_waits(start: Start, owner: subprocess.Popen[str]) -> None:
    heir = start(*WORK, "--wait", "60")
    said(heir.stderr, "Waiting")

    code, output, _ = end(heir, signal.SIGTERM)

    assert (code, output) == (0, "")
    assert owner.poll() is None


# --- what it tells ---------------------------------------------------------------------------------------------------


def test_quiet_leaves_the_sagas_out(shop: Shop, leave: Leave) -> None:
    leave(a="tea")
    go(shop)

    lines = shop.run(*WORK, "--until-idle", "-q").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["Working", "Nothing"]


def test_verbose_has_every_record(shop: Shop, leave: Leave) -> None:
    leave(a="gold")
    go(shop)

    lines = shop.run(*WORK, "--until-idle", "-v", code=1).stdout.splitlines()

    assert lines[1:-1] == [
        "  a: recovered, after a crash",
        "  a: first, attempt 2, succeeded",
        "  a: second, attempt 1, refused, allframe.Refused: too dear\\x1b[2J",
        "  a: rollback",
        "  a: first, attempt 1, undone",
        "compensated job a: second: allframe.Refused: too dear\\x1b[2J",
    ]


def test_json_is_an_object_a_line(shop: Shop, leave: Leave) -> None:
    leave(a="tea", b="gold")
    go(shop)

    done = shop.run(*WORK, "--until-idle", "--json", code=1)
    began, *ended, stopped = map(json.loads, done.stdout.splitlines())
    a, b = sorted(ended, key=lambda saga: saga["id"])

    assert began == {"type": "began", "store": "sqlite:///sagas.db", "recovering": {"executing": 2}, "attention": 0}
    assert (a["type"], a["id"], a["saga"], a["status"]) == ("ended", "a", "job", "completed")
    assert (b["id"], b["status"], b["failed_step"]) == ("b", "compensated", "second")
    assert stopped.pop("seconds") > 0
    assert stopped == {
        "type": "stopped",
        "by": "idle",
        "ended": {"completed": 1, "compensated": 1},
        "unfinished": {},
        "cut": [],
    }


def test_json_has_the_records_if_they_are_wanted(shop: Shop, leave: Leave) -> None:
    leave(a="tea")
    go(shop)

    lines = [json.loads(line) for line in shop.run(*WORK, "--until-idle", "--json", "-v").stdout.splitlines()]

    assert [line["event"] for line in lines if line["type"] == "recorded"] == [
        "recovered",
        "succeeded",
        "succeeded",
        "completed",
    ]


# --- the service manager ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and the name by which it is told to a service."""
    name = f"@allframe-{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name[1:]}" if name[0] == "@" else name)
        listener.settimeout(30)
        yield listener, name


def test_tells_the_service_manager_when_it_is_ready_and_when_it_stops(
    start: Start, owner: subprocess.Popen[str], manager: tuple[socket.socket, str]
) -> None:
    listener, name = manager
    process = start(*WORK, "--wait", "60", NOTIFY_SOCKET=name)
    said(process.stderr, "Waiting")
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    listener.settimeout(30)

    end(owner, signal.SIGTERM)
    assert listener.recv(100) == b"READY=1"
    process.send_signal(signal.SIGTERM)
    assert listener.recv(100) == b"STOPPING=1"
    assert process.wait(30) == 0


@pytest.mark.usefixtures("leave")
def test_a_service_manager_that_does_not_listen_is_no_reason_to_stop(shop: Shop) -> None:
    done = shop.run(*WORK, "--until-idle", env={"NOTIFY_SOCKET": str(shop.folder / "nowhere")})

    assert done.stderr == (f"NOTIFY_SOCKET={shop.folder}/nowhere cannot be told READY=1: No such file or directory.\n")


# --- what it is given ------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_before_the_store_is_touched(shop: Shop) -> None:
    (shop.folder / "lamp.py").write_text(LAMP.format(name="Lamp"))

    done = shop.run("work", "shop.py", "lamp.py", *STORE, code=2)

    assert done.stderr == (
        "allframe: UseLamp injects what nothing provides:\n  Lamp, for step 'one', parameter 'it'\nshop:provide has: "
        "Book. Name a mapping or a container with --provide module:thing, or define 'provide' beside the saga. "
        "Nothing was written.\n"
    )
    assert "sagas.db" not in shop.files


def test_takes_together_what_its_modules_provide(shop: Shop) -> None:
    (shop.folder / "lamp.py").write_text(LAMP.format(name="Lamp") + "\nprovide = {Lamp: Lamp()}\n")
    # The very same object, from one place.
    (shop.folder / "more.py").write_text("from shop import Order, provide\n")

    shop.run("work", "shop.py", "lamp.py", "more.py", *STORE, "--until-idle")


def test_two_objects_for_one_type_are_refused(shop: Shop) -> None:
    (shop.folder / "more.py").write_text("from shop import Book, Order\n\nprovide = {Book: Book()}\n")

    done = shop.run("work", "shop.py", "more.py", *STORE, "--until-idle", code=2)

    assert done.stderr == (
        "allframe: shop:provide and more:provide both provide Book, and not the same object. Name one mapping for all "
        "modules with --provide module:thing.\n"
    )
    shop.run("work", "shop.py", "more.py", *STORE, "--until-idle", "--provide", "more:provide")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("work", "shop.py:Order", *STORE),
            "Expected a module, found shop.py:Order: whichever sagas the store holds run. Write shop.py.",
        ),
        (
            ("work", "shop.py", "--store", "memory://"),
            "A memory store ends with its process: there is nothing to go on with. Give the URL of a file.",
        ),
        (
            ("work", "shop.py"),
            "Which store? Give --store URL, such as --store sqlite:///sagas.db, or set ALLFRAME_STORE.",
        ),
        (("work", "json", *STORE), "There are no sagas in json. Name the module that defines them."),
    ],
)
def test_says_what_it_cannot_use(shop: Shop, arguments: tuple[str, ...], text: str) -> None:
    assert shop.run(*arguments, code=2).stderr == f"allframe: {text}\n"


def test_a_package_has_the_sagas_of_its_modules(shop: Shop) -> None:
    (shop.folder / "store").mkdir()
    (shop.folder / "store" / "__init__.py").write_text("from . import lamps\n")
    (shop.folder / "store" / "lamps.py").write_text(LAMP.format(name="Lamp"))

    done = shop.run("work", "store", *STORE, code=2)

    assert "UseLamp injects what nothing provides" in done.stderr


#: A step to build sagas of, and a saga that is only a base for others.
PARTS = """
from allframe import Saga, SagaStep

class Base(Saga, abstract=True):
    pass

class Note(SagaStep, name="note"):
    text: str

    async def execute(self) -> str:
        return self.text
"""


def test_a_module_may_have_bases_and_steps_beside_its_sagas(shop: Shop, leave: Leave, start: Start) -> None:
    leave(one="tea")
    (shop.folder / "jobs.py").write_text(JOBS + PARTS)
    go(shop)

    shop.run(*WORK, "--until-idle", "-q")

    assert "second one" in shop.book


def test_sagas_that_were_built_of_the_steps_of_a_module_go_on(shop: Shop) -> None:
    (shop.folder / "parts.py").write_text(PARTS)
    (shop.folder / "build.py").write_text(
        "import anyio, os\nfrom parts import Note\nfrom allframe import SagaDefinition, SagaOrchestrator\n"
        "async def main():\n"
        "    async with SagaOrchestrator('sqlite:///sagas.db') as orchestrator:\n"
        "        await orchestrator.start(SagaDefinition('built').add_step(Note(text='hi')))\n"
        "        os._exit(9)\n"
        "anyio.run(main)\n"
    )
    subprocess.run([sys.executable, "build.py"], cwd=shop.folder, env=environment(), check=False)

    shop.run("work", "parts.py", *STORE, "--until-idle", "-q")

    assert statuses(shop) == {"built": "completed"}
