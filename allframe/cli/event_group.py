"""allframe events: the group of commands."""

from __future__ import annotations

import typer

__all__ = ["events"]

events = typer.Typer(name="events", help="Look at events, and at what they look like.", no_args_is_help=True)
