"""The Prefect flow ``validate``: one run of the station, with a table of the sources and a summary.

A run that is due while another one is under way does no harm: shards are leased in PostgreSQL. Cancelled, a run stops
after the batches that are under way; the next one goes on from its cursors. Names, counts and shapes are all that is
shown: no value of a record reaches Prefect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import anyio
import anyio.to_thread
from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from db.engine import connect, upgrade
from db.errors import DatabaseError
from flows.validation.options import ValidateOptions
from flows.validation.policies import Policies
from flows.validation.policyfile import load
from flows.validation.quality import Quality, quality
from flows.validation.station import Station, Tally, WorkerLost, secret_of
from flows.validation.store import Database, ValidationStore
from flows.validation.tokens import KeyRefused
from harvester.problems import ConfigurationError
from harvester.secrets import OUTSIDE_PREFECT, SecretError
from harvester.settings import Settings

DEFAULTS: Final = ValidateOptions()
POOL_SIZE: Final = 3  # connections
MOST: Final = 30  # rules in the summary


@flow(name="validate", retries=0, persist_result=False, timeout_seconds=None)
async def validate(options: ValidateOptions = DEFAULTS) -> State[Any]:
    """Checks what was harvested, keeps what is wrong in quarantine, and passes the rest on without personal data.

    Final states: Completed; SourcesHeld, which names the sources that wait for an operator; Failed, when nothing could be done.
    """
    said = get_run_logger()
    try:
        path = Path(options.policies) if options.policies else Settings.load().policies
        policies = load(path) if path is not None else Policies()
        secret = await _secret(policies)
    except ConfigurationError as error:
        return Failed(message="Nothing was validated. " + "; ".join(str(problem) for problem in error.problems))
    except SecretError as error:
        return Failed(message=f"Nothing was validated. The key of the tokens: {error}")
    try:
        database = await anyio.to_thread.run_sync(partial(connect, pool_size=POOL_SIZE, application_name="windrow-validate-flow"))
    except DatabaseError as error:
        return Failed(message=f"Nothing was validated. {error}")
    try:
        await anyio.to_thread.run_sync(partial(upgrade, database))
        station = Station(database=database, policies=policies, secret=secret, workers=options.workers)
        tally = await _watched(station, options)
        for source, reason in sorted(tally.warnings.items()):
            said.warning("%s: %s%s.", source, "held: " if source in tally.held else "", reason)
        said.info("%s", sentence(tally))
        figures = await anyio.to_thread.run_sync(partial(_figures, database, sorted(tally.sources | set(tally.held))))
        await _try(lambda: acreate_table_artifact(table(figures, tally), key="validate-sources", description=sentence(tally)), said.warning)
        await _try(lambda: acreate_markdown_artifact(markdown(tally), key="validate-summary", description=sentence(tally)), said.warning)
    except (DatabaseError, KeyRefused, WorkerLost) as error:
        return Failed(message=f"The validation stopped; what was finished is kept. {error}")
    finally:
        database.dispose()
    if tally.held:
        return Completed(name="SourcesHeld", message=f"{sentence(tally)} Held: {', '.join(tally.held)}.")
    return Completed(message=sentence(tally))


async def _watched(station: Station, options: ValidateOptions) -> Tally:
    """The run in a thread; when the flow is cancelled it is told to stop, and waited for."""
    work = partial(station.run, options.sources or None, everything=options.everything)
    tally = Tally()

    async def run() -> None:
        nonlocal tally
        with anyio.CancelScope(shield=True):
            tally = await anyio.to_thread.run_sync(work)
        over.set()

    over = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await over.wait()
        except anyio.get_cancelled_exc_class():
            station.stop()
            raise
    return tally


def _figures(database: Database, sources: list[str]) -> list[Quality]:
    return quality(ValidationStore(database), sources)


def sentence(tally: Tally) -> str:
    """What a run did."""
    return (
        f"{tally.read:,} read, {tally.valid:,} pass ({tally.warned:,} with warnings), {tally.quarantined:,} in quarantine, "
        f"{tally.deleted:,} deleted, {len(tally.held):,} sources held."
    )


def table(figures: list[Quality], tally: Tally) -> list[dict[str, Any]]:
    """The sources of this run."""
    return [
        {
            "source": each.source,
            "state": "held" if each.source in tally.held else "fed",
            "clean": each.records,
            "quarantine": each.quarantined,
            "warnings": each.warned,
            "complete": "" if each.score is None else each.score,
        }
        for each in figures
    ]


def markdown(tally: Tally) -> str:
    """The rules that found something, and what was taken out by name."""
    lines = [sentence(tally), ""]
    for title, counts in (("Finding", tally.findings), ("Taken out", tally.scrubbed)):
        if counts:
            lines += [f"| {title} | Count |", "|---|---|", *(f"| `{key}` | {count:,} |" for key, count in counts.most_common(MOST)), ""]
    return "\n".join(lines)


async def _secret(policies: Policies) -> str | None:
    """The key of the tokens; a Prefect block is read now."""
    reference = policies.privacy.key
    if reference is None or reference.scheme != "prefect":
        return secret_of(policies)
    try:
        block = cast("Secret[Any]", await Secret.aload(reference.name))
    except ValueError:
        raise SecretError(
            str(reference), "there is no Prefect Secret block of this name; create it in the Prefect UI under Blocks"
        ) from None
    value = str(block.value.get_secret_value())
    return secret_of(policies, {**OUTSIDE_PREFECT, "prefect": lambda name: value})


async def _try(call: Callable[[], Awaitable[object]], warn: Callable[..., None]) -> None:
    try:
        await call()
    except Exception as error:  # noqa: BLE001  (whatever is wrong with what is shown, the records are validated)
        warn("What Prefect shows of this run is not complete: %s: %s", type(error).__name__, error)
