"""Processes of the command line, quickly: one that has imported everything, and forks for each command.

It reads a JSON object a line (``argv``, ``cwd``, ``env``, ``user``, ``stdin``, ``stdout``, ``stderr``: paths), runs the
command in a child of its own, and answers with two lines: the child's pid, and its exit code once it has one.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
import traceback
from typing import Any

import anyio

import allframe.cli.app  # noqa: F401 - so that children need not
from allframe.cli import main


def serve() -> None:
    # Imports what belongs to the event loop, and what an unprivileged user might not find any more.
    anyio.run(anyio.sleep, 0)
    codecs.lookup("utf-8-sig")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Run one command as a program of its own would, and end with it."""
    code: Any = 70
    try:
        for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(request[name], flags, 0o600), descriptor)
        sys.stdin = os.fdopen(0, closefd=False)
        if request["user"] is not None:
            os.setgroups([])
            os.setgid(request["user"])
            os.setuid(request["user"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.path.insert(0, request["cwd"])  # as python -m does
        sys.argv = ["allframe", *request["argv"]]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
