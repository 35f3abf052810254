"""The real command line in real processes, in a folder with a small shop."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: A saga whose effects are lines of a file. What an order is for says what happens to it.
SHOP = '''
from __future__ import annotations

import os
from pathlib import Path

import anyio

from allframe import Inject, Refused, Retry, Saga, StepContext, compensates, step


class Book:
    """Lines of a file: what was done in the world."""

    def write(self, line: str) -> None:
        with Path("book.txt").open("a") as file:
            file.write(line + "\\n")


class Order(Saga, name="order"):
    item: str
    wait: float = 0

    @step
    async def reserve(self, book: Inject[Book], ctx: StepContext) -> str:
        book.write(f"reserve {ctx.saga_id}")
        await anyio.sleep(self.wait)
        book.write(f"reserved {ctx.saga_id}")
        return "shelf 3"

    @compensates("reserve", retry=Retry(attempts=2, wait=0.01))
    async def release(self, book: Inject[Book], ctx: StepContext) -> None:
        if self.item == "glue":
            raise RuntimeError("it sticks")
        book.write(f"release {ctx.saga_id}")

    @step(readonly=True)
    async def pay(self, book: Inject[Book], ctx: StepContext) -> None:
        if self.item in ("gold", "glue"):
            raise Refused("too dear\\x1b[2J")
        book.write(f"pay {ctx.saga_id}")


provide = {Book: Book()}
'''


class Zygote:
    """Forks a process for each command (`tests.cli.zygote`): one import for all of them. One runs at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.zygote"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that select tells what can be read
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._pid = 0

    def start(
        self, folder: Path, *arguments: str, streams: Path, env: dict[str, str] | None = None, user: int | None = None
    ) -> None:
        """Begin a command; its streams are the files ``stdin``, ``stdout`` and ``stderr`` in ``streams``."""
        files = {name: str(streams / name) for name in ("stdin", "stdout", "stderr")}
        (streams / "stdin").touch()
        request = {"argv": arguments, "cwd": str(folder), "env": environment(**(env or {})), "user": user, **files}
        self._requests.write(f"{json.dumps(request)}\n".encode())
        self._pid = int(self._answers.readline())

    def wait(self, timeout: float) -> int | None:
        """The command's exit code; None if it did not end within ``timeout`` seconds."""
        if not select.select([self._answers], [], [], timeout)[0]:
            return None
        return int(self._answers.readline())

    def kill(self) -> None:
        """SIGKILL to the command, which is gone when this returns."""
        os.kill(self._pid, signal.SIGKILL)
        self._answers.readline()

    def run(
        self, folder: Path, *arguments: str, env: dict[str, str] | None, given: str, user: int | None
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as name:
            streams = Path(name)
            (streams / "stdin").write_text(given)
            self.start(folder, *arguments, streams=streams, env=env, user=user)
            code = self.wait(60)
            if code is None:
                self.kill()
                raise TimeoutError(f"{arguments} did not end within a minute")
            return subprocess.CompletedProcess(
                arguments, code, (streams / "stdout").read_text(), (streams / "stderr").read_text()
            )

    def close(self) -> None:
        self._requests.close()
        self._process.wait(10)
        self._answers.close()


class Shop:
    """A folder with ``shop.py``, and a shell in it."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self._zygote = zygote
        (folder / "shop.py").write_text(SHOP)

    def orders(self, *orders: dict[str, Any] | str) -> str:
        """A file of orders: its name."""
        lines = [order if isinstance(order, str) else json.dumps(order) for order in orders]
        (self.folder / "orders.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return "orders.jsonl"

    @property
    def book(self) -> list[str]:
        """What was done in the world."""
        path = self.folder / "book.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"__pycache__"}

    def run(
        self,
        *arguments: str,
        code: int = 0,
        env: dict[str, str] | None = None,
        given: str = "",
        user: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``allframe`` with these arguments, run in a process to its end, which is ``code``."""
        done = self._zygote.run(self.folder, *arguments, env=env, given=given, user=user)
        assert done.returncode == code, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``python -m allframe`` with these arguments, in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "allframe", *arguments],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


def wait_until(process: subprocess.Popen[str], done: Callable[[], bool]) -> None:
    """Wait, as long as ``process`` runs, until something is so."""
    deadline = monotonic() + 30
    while not done():
        assert monotonic() < deadline, "it did not happen within 30 s"
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it ended with {process.returncode}\n{process.communicate()}")


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Send a signal: how the process ended, and what it said."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors
