"""``python -m allframe``: the command line."""

from __future__ import annotations

from allframe.cli import main

if __name__ == "__main__":
    main()
