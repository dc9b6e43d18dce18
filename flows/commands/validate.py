"""``windrow validate``: rules, gate and scrubber over what was harvested."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from db.engine import connect, upgrade
from flows.commands import output, subjects
from flows.validation.policies import Policies
from flows.validation.policyfile import load
from flows.validation.station import NewFailure, Progress, Station, Tally, WorkerLost, secret_of, try_policies
from flows.validation.store import Database, ValidationStore
from flows.validation.tokens import KeyRefused
from harvester.problems import ConfigurationError, meant
from harvester.secrets import SecretError
from harvester.settings import Settings

Policy = Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="The policies; by default WINDROW_POLICIES, or none.")]


def validate(
    *,
    source: Annotated[list[str] | None, typer.Option("--source", metavar="SOURCE", help="Only this source; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is stored again, by the rules and readers of today.")] = False,
    policy: Policy = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --policy: show what would newly fail; nothing is written.")] = False,
    shards: Annotated[int, typer.Option("--shards", metavar="N", min=1, max=256, help="Work with so many processes.")] = 1,
    approve: Annotated[
        list[str] | None, typer.Option("--approve", metavar="SOURCE", help="Let this held source pass first; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines; the last one is the summary.")] = False,
) -> None:
    """Checks what changed since the last time, keeps what is wrong in quarantine, and passes the rest on without personal data.

    Exit status: 0 done (records in quarantine are no failure of the run), 2 bad call or configuration, 3 a source is held.
    """
    if dry_run and policy is None:
        output.refuse("--dry-run tries a policy; name it with --policy FILE")
    if dry_run and (approve or everything or shards != 1):
        output.refuse("--dry-run reads everything and writes nothing; leave out --all, --approve and --shards")
    policies = policies_of(policy)
    with opened() as database:
        store = ValidationStore(database)
        names = known(store, source)
        if dry_run:
            _try(store, policies_of(None), policies, names, as_json=as_json)
            return
        for each in known(store, approve) or ():
            if store.approve(each, by=subjects.operator(), reason="windrow validate --approve") is None:
                output.refuse(f"{each} is not held; windrow quarantine list shows what is")
        station = Station(
            database=database, policies=policies, secret=secret(policies), workers=shards, progress=_progress(as_json=as_json)
        )
        with stopping(station):
            tally = station.run(names, everything=everything)
        held = store.held(names)
    if as_json:
        for each_source, reason in sorted(tally.warnings.items()):
            output.as_json({"event": "gate", "source": each_source, "held": each_source in tally.held, "reason": reason})
        output.as_json(tally.summary())
    else:
        _print(tally)
        for held_source in held:
            typer.echo(
                f"{held_source.source} is held: {held_source.reason}; {held_source.waiting:,} changes wait for "
                f"windrow quarantine approve {held_source.source}"
            )
    if tally.held:
        raise typer.Exit(output.SOME_FAILED)


def policies_of(path: Path | None) -> Policies:
    """The policies of a file, or of WINDROW_POLICIES; every error of them is printed, with exit status 2."""
    try:
        chosen = path or Settings.load().policies
        return load(chosen) if chosen is not None else Policies()
    except ConfigurationError as error:
        output.problems(error)


def secret(policies: Policies) -> str | None:
    """The key of the tokens. One that is named and cannot be read is refused; without one, what is found is dropped."""
    try:
        return secret_of(policies)
    except SecretError as error:
        output.refuse(f"the key of the tokens: {error}")


@contextmanager
def opened() -> Iterator[Database]:
    """The database, with its tables up to date. Inside, its errors are one sentence and exit status 1."""
    with output.database_errors():
        database = connect(pool_size=3, application_name="windrow-validate")
        try:
            upgrade(database)
            yield database
        except KeyRefused as error:
            output.refuse(str(error))
        except WorkerLost as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        finally:
            database.dispose()


def known(store: ValidationStore, names: list[str] | None) -> list[str] | None:
    """The names, if there are such sources; an unknown one is refused with the one that was probably meant."""
    if not names:
        return None
    there = store.known_sources()
    for name in names:
        if name not in there:
            close = meant(name, there)
            output.refuse(f"there is no harvested source {name}; " + (f"did you mean {close}?" if close else "windrow status shows them"))
    return names


@contextmanager
def stopping(station: Station) -> Iterator[None]:
    """Inside: Ctrl-C or SIGTERM ends the run after the batch that is under way; a second one at once."""

    def handle(number: int, frame: object) -> None:
        station.stop()
        for each, former in formers.items():
            signal.signal(each, former)

    formers = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, former in formers.items():
            signal.signal(each, former)


def _try(store: ValidationStore, now: Policies, then: Policies, names: list[str] | None, *, as_json: bool) -> None:
    count = 0

    def told(failure: NewFailure) -> None:
        nonlocal count
        count += 1
        if as_json:
            findings = [{"issue": key, "path": path, "message": message} for key, path, message in failure.findings]
            output.as_json({"event": "newly_failing", "source": failure.source, "identifier": failure.identifier, "findings": findings})
        else:
            typer.echo(f"{failure.source}: {output.one_line(failure.identifier)}")
            for key, path, message in failure.findings:
                typer.echo(f"    {path or 'record'}: {message} ({key})")

    tally = try_policies(store, now, then, names, told)
    if as_json:
        output.as_json(tally.summary())
    else:
        typer.echo(f"{count:,} of {tally.read:,} records would newly fail; nothing was written")


def _progress(*, as_json: bool) -> Progress:
    """A line that is written over again, on a terminal; nothing elsewhere."""
    if as_json or not sys.stderr.isatty():
        return lambda tally: None

    def show(tally: Tally) -> None:
        typer.echo(f"\r{tally.read:,} read, {tally.quarantined:,} in quarantine ", err=True, nl=False)

    return show


def _print(tally: Tally) -> None:
    rate = f", {tally.read / tally.seconds:,.0f} a second" if tally.seconds > 1 else ""
    typer.echo(
        f"{tally.read:,} read: {tally.valid:,} pass ({tally.warned:,} of them with warnings), {tally.quarantined:,} in quarantine, "
        f"{tally.deleted:,} deleted; {tally.seconds:,.1f} s{rate}"
    )
    if tally.findings:
        output.columns([(f"{count:,}", key) for key, count in tally.findings.most_common()], right=[0])
    if tally.scrubbed:
        typer.echo("taken out, by name:")
        output.columns([(f"{count:,}", key) for key, count in tally.scrubbed.most_common()], right=[0])
    for source, reason in sorted(tally.warnings.items()):
        if source not in tally.held:
            typer.echo(f"{source}: {reason}")
