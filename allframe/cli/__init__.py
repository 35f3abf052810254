"""The command line: ``allframe run``, ``work``, ``list``, ``show``, ``check`` and ``demo``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit."""
    try:
        from allframe.cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"typer", "rich"}:
            raise
        sys.stderr.write(
            f"allframe: the command line needs {missing}, which is not installed. Install it with: "
            "pip install 'allframe[cli]'\n"
        )
        sys.exit(2)
    app(prog_name="allframe")
