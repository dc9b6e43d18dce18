"""The command ``windrow``: every subcommand hangs here; what they do is in ``flows.commands``."""

from __future__ import annotations

import typer

from flows.commands import db, harvest, sources

app = typer.Typer(
    name="windrow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Harvests the catalogues of a library consortium, within the limits of its servers, and keeps its systems in step.",
)
app.command(name="harvest")(harvest.harvest)
app.add_typer(sources.app, name="sources")
app.add_typer(db.app, name="db")


def main() -> None:
    """The entry point of the command line."""
    app()
