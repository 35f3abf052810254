"""Programs that run beside a test, in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Before every program: names that most of them need.
_BEGIN = """
import os, signal, sys, time
import anyio
from allframe.errors import *
from allframe.events.backend import *
from allframe.events.sqlite import SqliteBackend

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().strip()

def write(stream, expected=None, data=b"{}"):
    return Commit((Write(stream, (Row(new_id(), "Happened", 1, data, 0),), expected),))
"""


def command(program: str, *arguments: object, before: tuple[str, ...] = ()) -> list[str]:
    text = _BEGIN + textwrap.dedent(program)
    return [*before, sys.executable, "-c", text, *map(str, arguments)]


def run(program: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """What a program that succeeds prints."""
    done = subprocess.run(
        command(program, *arguments, before=before),
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def traced(program: str, *arguments: object, inject: str) -> subprocess.CompletedProcess[str]:
    """A program whose system calls fail as ``inject`` says (strace(1), "Tampering"), however it ends."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed here")
    before = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}")
    return subprocess.run(
        command(program, *arguments, before=before),
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def running(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A program to talk with, a line at a time; it is killed at the end."""
    process = subprocess.Popen(
        command(program, *arguments),
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], words: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(words + "\n")
    process.stdin.flush()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


#: Owns the store that is its argument, and waits.
OWNER = """
async def main():
    backend = SqliteBackend(sys.argv[1])
    await backend.open()
    await backend.commit(write("a"))
    say("open")
    while (word := hear()):
        if word == "close":
            break
        await backend.commit(write("a"))
        say("written")
    await backend.close()
    say("closed")

anyio.run(main)
"""
