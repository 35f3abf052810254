"""The commands, gathered."""

from __future__ import annotations

from typing import Annotated

import typer

import allframe
from allframe.cli import check, demo, event_schema, events, look, operate, pictures, projections, run, watch, work
from allframe.cli.event_group import events as events_group

__all__ = ["app"]

app = typer.Typer(
    name="allframe",
    help="Run sagas, and look at them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"allframe {allframe.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run sagas, and look at them."""


app.command("run")(run.run)
app.command("work")(work.work)
app.command("list")(look.list_sagas)
app.command("show")(look.show)
app.command("watch")(watch.watch)
for _verb in (operate.cancel, operate.retry, operate.abandon, operate.skip, operate.resolve):
    app.command(_verb.__name__)(_verb)
app.command("check")(check.check)
app.command("explain")(pictures.explain)
app.command("graph")(pictures.graph)
app.add_typer(projections.app, name="projections")
app.command("demo")(demo.demo)
events_group.command("tail")(events.tail)
events_group.command("read")(events.read)
events_group.command("stats")(events.stats)
events_group.command("schema")(event_schema.schema)
events_group.command("check")(event_schema.check)
app.add_typer(events_group)
