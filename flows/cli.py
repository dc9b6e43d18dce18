"""The command ``windrow``: every subcommand hangs here; what they do is in ``flows.commands``."""

from __future__ import annotations

import typer

from flows.commands import (
    coverage,
    db,
    deletions,
    demo,
    harvest,
    operate,
    purge,
    quality,
    quarantine,
    record,
    records,
    simulate,
    sources,
    status,
    validate,
)

app = typer.Typer(
    name="windrow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Harvests the catalogues of a library consortium, within the limits of its servers, and keeps its systems in step.",
)
app.command(name="harvest")(harvest.harvest)
app.command(name="simulate")(simulate.simulation)
app.add_typer(sources.app, name="sources")
app.command(name="status")(status.status)
app.command(name="explain")(status.explain)
app.command(name="pause")(operate.pause)
app.command(name="resume")(operate.resume)
app.command(name="rewind")(operate.rewind)
app.command(name="reset")(operate.reset)
app.command(name="validate")(validate.validate)
app.add_typer(quarantine.app, name="quarantine")
app.command(name="quality")(quality.quality_command)
app.command(name="purge")(purge.purge)
app.add_typer(record.app, name="record")
app.command(name="fetch")(records.fetch)
app.command(name="records")(records.records)
app.command(name="failures")(records.failures)
app.command(name="coverage")(coverage.coverage)
app.add_typer(deletions.app, name="deletions")
app.add_typer(db.app, name="db")
app.command(name="demo")(demo.demo)


def main() -> None:
    """The entry point of the command line."""
    app()
