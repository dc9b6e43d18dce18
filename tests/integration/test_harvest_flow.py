"""The flow ``harvest`` for real: a Prefect server, the stand-in consortium and PostgreSQL; what people see is read back."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine

from flows.harvest.options import HarvestOptions, Mode
from flows.harvest.progress import Progress, Verdict
from flows.harvest.store import PostgresStore
from harvester.events import GroupView, Notice, Outcome, PageSaved, PassFinished
from harvester.schedule import State as SourceState
from harvester.sources import Configuration, Group, Source
from harvester.store import Totals
from tests.fakes import prefect_server
from tests.fakes.oai import Consortium, Fault, Repository

from flows.harvest import flow as flow_module  # isort: skip  (after the module that keeps Prefect away from the developer's home)
from flows.harvest.flow import harvest  # isort: skip
from prefect import get_client  # isort: skip
from prefect.blocks.system import Secret  # isort: skip
from prefect.client.orchestration import SyncPrefectClient  # isort: skip
from prefect.client.schemas.filters import ArtifactFilter, LogFilter  # isort: skip
from prefect.client.schemas.objects import FlowRun, State  # isort: skip
from prefect.logging.handlers import APILogWorker  # isort: skip
from prefect.settings import PREFECT_API_URL, temporary_settings  # isort: skip
from prefect.states import Cancelling  # isort: skip

# Prefect itself leaves a connection of a synchronous client open in each run; the collection in the fixture `client` sees to it
# that no test of another module meets what is left of it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

CANARY = "canary-5f1c0a7e"
MINUTE = 1 / 60  # budgets are minutes


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server; flows of this process use the same server."""
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url()}), get_client(sync_client=True) as found:
        yield found
    gc.collect()


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    with Consortium() as running:
        yield running


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes sources.yaml and lets flows find it and the database."""
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)

    def writing(text: str) -> Path:
        path = tmp_path / "sources.yaml"
        path.write_text(text)
        monkeypatch.setenv("WINDROW_SOURCES", str(path))
        return path

    return writing


def listed(consortium: Consortium, names: Sequence[str], *, groups: str = "groups: {hosted: {limit: 2}}", more: str = "") -> str:
    lines = [groups, "sources:"]
    for name in names:
        lines += [
            f"  {name}:",
            f"    url: {consortium.url(name)}",
            "    group: hosted",
            "    attempts: 1",
            *([f"    {more}"] if more else []),
        ]
    return "\n".join(lines) + "\n"


def run(**options: Any) -> State[Any]:
    """One run of the flow in this process; its final state."""
    state = asyncio.run(harvest(HarvestOptions(**options), return_state=True))
    assert isinstance(state, State)
    return state


def run_of(client: SyncPrefectClient, state: State[Any]) -> FlowRun:
    assert state.state_details.flow_run_id is not None
    return client.read_flow_run(state.state_details.flow_run_id)


def artifacts_of(client: SyncPrefectClient, flow_run: FlowRun) -> dict[str, Any]:
    """The artifacts of a run by their keys."""
    found = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate({"flow_run_id": {"any_": [flow_run.id]}}))
    return {str(artifact.key): artifact for artifact in found}


def logs_of(client: SyncPrefectClient, flow_run: FlowRun) -> list[str]:
    asyncio.run(_drain())
    found = client.read_logs(log_filter=LogFilter.model_validate({"flow_run_id": {"any_": [flow_run.id]}}))
    return [entry.message for entry in found]


async def _drain() -> None:
    drained = APILogWorker.instance().drain()
    if asyncio.iscoroutine(drained):
        await drained


def stored(database: Engine, source: str) -> dict[str, bool]:
    """Identifier and deletion of what is in the database."""
    with database.connect() as connection:
        rows = connection.execute(text("SELECT identifier, deleted FROM harvest.record WHERE source = :source"), {"source": source})
        return {row.identifier: row.deleted for row in rows}


def held(consortium: Consortium, name: str) -> dict[str, bool]:
    return {identifier: truth.deleted for identifier, truth in consortium.truth(name).items()}


# ------------------------------------------------------------------ outcomes


@pytest.mark.prefect
def test_a_run_harvests_what_is_due_ends_when_idle_and_shows_it(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """operations 3, 4; harvest 25"""
    for name, group in (("alpha", "hosted"), ("beta", "other")):
        consortium.serve(Repository(name=name, group=group, records=120, page_size=50, deleted_share=0.1))
    write(
        "groups: {hosted: {limit: 2}, other: {limit: 1}}\nsources:\n"
        f"  alpha: {{url: '{consortium.url('alpha')}', group: hosted}}\n  beta: {{url: '{consortium.url('beta')}', group: other}}\n"
    )

    state = run()

    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    assert state.message is not None
    assert state.message.startswith("No source failed. 240 records")
    assert stored(database, "alpha") == held(consortium, "alpha")
    assert stored(database, "beta") == held(consortium, "beta")
    flow_run = run_of(client, state)
    assert {"group:hosted", "group:other"} <= set(flow_run.tags)
    shown = artifacts_of(client, flow_run)
    assert set(shown) == {"harvest-progress", "harvest-sources", "harvest-summary"}
    assert shown["harvest-progress"].type == "progress"
    assert shown["harvest-progress"].data == 100.0
    assert "240 records on 6 pages" in shown["harvest-progress"].description
    assert shown["harvest-sources"].type == "table"
    heads, *rows = json.loads(shown["harvest-sources"].data)
    assert heads == ["source", "group", "outcome", "records", "new", "changed", "deleted", "failures", "pages", "seconds", "error"]
    deleted = sum(held(consortium, "alpha").values())
    assert rows[0][:9] == ["alpha", "hosted", "complete", 120, 120 - deleted, 0, deleted, 0, 3]
    assert [row[0] for row in rows] == ["alpha", "beta"]
    assert "| hosted | 2 |" in shown["harvest-summary"].data
    logs = logs_of(client, flow_run)
    assert any(line.startswith("alpha is complete: 120 records") for line in logs), logs


@pytest.mark.prefect
def test_a_failed_source_is_named_by_a_completed_run_and_its_reason_stands_in_the_table(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """operations 4; harvest 18"""
    for name in ("alpha", "beta", "gamma"):
        consortium.serve(Repository(name=name, group="hosted", records=60, page_size=50))
    consortium.fault("beta", Fault(kind="html"))
    consortium.fault("gamma", Fault(kind="malformed-record", number=5))
    write(listed(consortium, ["alpha", "beta", "gamma"]))

    state = run()

    assert (state.type.value, state.name) == ("COMPLETED", Verdict.WITH_FAILURES.value)
    assert state.message is not None
    assert state.message.startswith("1 of 3 sources failed: beta.")
    assert "1 could not be read" in state.message
    shown = artifacts_of(client, run_of(client, state))
    _, first, *others = json.loads(shown["harvest-sources"].data)
    assert (first[0], first[2]) == ("beta", "failed")  # what failed comes first
    assert "HTML" in first[10]
    assert [(row[0], row[2], row[7]) for row in others] == [("alpha", "complete", 0), ("gamma", "complete", 1)]
    assert "**beta**" in shown["harvest-summary"].data
    assert len(stored(database, "gamma")) == 59


@pytest.mark.prefect
def test_a_run_in_which_all_sources_failed_has_failed(client: SyncPrefectClient, consortium: Consortium, write: Write) -> None:
    """operations 4"""
    consortium.serve(Repository(name="alpha", group="hosted"))
    consortium.fault(None, Fault(kind="html"))
    write(listed(consortium, ["alpha"]))

    state = run()

    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert state.message is not None
    assert state.message.startswith("1 of 1 sources failed: alpha.")
    assert run_of(client, state).state_type == state.type


@pytest.mark.prefect
def test_wrong_sources_fail_the_run_before_anything_is_asked(client: SyncPrefectClient, consortium: Consortium, write: Write) -> None:
    """operations 4; harvest 26"""
    consortium.serve(Repository(name="alpha", group="hosted"))
    path = write(listed(consortium, ["alpha"], more="metadata_prefx: marc21"))

    wrong_file = run()
    write(listed(consortium, ["alpha"]))
    wrong_name = run(sources=["alfa"])

    assert wrong_file.name == wrong_name.name == "Failed"
    assert f"{path}:7:" in str(wrong_file.message)
    assert "there is no source alfa" in str(wrong_name.message)
    assert consortium.stats()["total"]["requests"] == 0


@pytest.mark.prefect
def test_secret_blocks_reach_the_repository_and_nothing_else(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """harvest 20; operations 11"""
    consortium.serve(Repository(name="alpha", group="hosted", records=10, requires_authorization=CANARY))
    consortium.serve(Repository(name="beta", group="hosted", records=10, requires_authorization=CANARY))
    Secret(value=CANARY).save("alpha-key", overwrite=True, _sync=True)
    write(
        "groups: {hosted: {limit: 2}}\nsources:\n"
        f"  alpha: {{url: '{consortium.url('alpha')}', group: hosted, headers: {{Authorization: prefect:alpha-key}}}}\n"
        f"  beta: {{url: '{consortium.url('beta')}', group: hosted, headers: {{Authorization: prefect:no-such-key}}}}\n"
    )

    state = run()

    assert state.name == Verdict.WITH_FAILURES.value
    assert len(stored(database, "alpha")) == 10
    flow_run = run_of(client, state)
    shown = artifacts_of(client, flow_run)
    assert "prefect:no-such-key: there is no Prefect Secret block" in shown["harvest-sources"].data
    logs = logs_of(client, flow_run)
    assert any("beta is " in line for line in logs)
    with database.connect() as connection:
        rows = [
            tuple(row)
            for row in connection.execute(text("SELECT s.*, r.* FROM harvest.source s LEFT JOIN harvest.run r ON r.source = s.name"))
        ]
    everything = repr((state, flow_run, logs, [artifact.model_dump() for artifact in shown.values()], rows))
    assert "alpha" in everything
    assert CANARY not in everything


# ------------------------------------------------------------ end, and again


@pytest.mark.prefect
def test_a_run_stops_when_its_time_is_up_and_the_next_one_goes_on(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """operations 3; harvest 21"""
    consortium.serve(Repository(name="alpha", group="hosted", records=100, page_size=5, latency=0.1))
    write(listed(consortium, ["alpha"]))

    first = run(budget_minutes=0.8 * MINUTE, mode=Mode.WHOLE_BUDGET)
    some = stored(database, "alpha")
    second = run()

    assert first.name == second.name == "Completed"
    assert 0 < len(some) < 100
    assert len(some) % 5 == 0  # whole pages
    assert stored(database, "alpha") == held(consortium, "alpha")
    (under_way,) = json.loads(artifacts_of(client, run_of(client, first))["harvest-sources"].data)[1:]
    assert (under_way[0], under_way[2], under_way[3]) == ("alpha", "under way", len(some))
    lists = [entry for entry in consortium.log("alpha") if entry.verb == "ListRecords"]
    assert len(lists) == 20  # no page was asked twice


@pytest.mark.prefect
def test_trouble_with_what_is_shown_is_told_once_and_never_reaches_the_harvest(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """operations 4"""
    consortium.serve(Repository(name="alpha", group="hosted", records=10))
    write(listed(consortium, ["alpha"]))

    async def refused(*arguments: object, **named: object) -> None:
        raise OSError("no artifacts today")

    for name in ("acreate_progress_artifact", "acreate_table_artifact", "acreate_markdown_artifact"):
        monkeypatch.setattr(flow_module, name, refused)
    state = run()

    assert state.name == "Completed"
    assert stored(database, "alpha") == held(consortium, "alpha")
    told = [line for line in logs_of(client, run_of(client, state)) if "no artifacts today" in line]
    assert told == ["What Prefect shows of this run is not up to date: OSError: no artifacts today"]


@pytest.mark.prefect
def test_a_run_that_finds_every_group_owned_ends_at_once_and_says_so(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """operations 2, 3; harvest 8"""
    consortium.serve(Repository(name="alpha", group="hosted", records=10))
    write(listed(consortium, ["alpha"]))

    async def beside_another() -> list[State[Any]]:
        other = PostgresStore(database)
        assert await other.claim("hosted")
        try:
            return [await harvest(HarvestOptions(mode=mode), return_state=True) for mode in (Mode.UNTIL_IDLE, Mode.EVERY_SOURCE_ONCE)]
        finally:
            await other.close()

    states = asyncio.run(beside_another())

    assert [(state.type.value, state.name) for state in states] == [("COMPLETED", Verdict.OWNED_ELSEWHERE.value)] * 2
    assert "(hosted)" in str(states[0].message)
    assert consortium.stats()["total"]["requests"] == 0
    assert run().name == "Completed"
    assert stored(database, "alpha") == held(consortium, "alpha")


@pytest.mark.prefect
def test_a_cancelled_flow_saves_the_page_that_is_under_way(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine
) -> None:
    """operations 3; harvest 21"""
    consortium.serve(Repository(name="alpha", group="hosted", records=30, page_size=10))
    write(listed(consortium, ["alpha"]))

    async def cancelled() -> None:
        task = asyncio.create_task(harvest(HarvestOptions(), return_state=True))
        await asyncio.to_thread(consortium.wait_requests, 1, name="alpha")
        await asyncio.to_thread(consortium.wait_in_flight, 1, name="alpha")
        task.cancel()
        asyncio.get_running_loop().call_later(0.2, gate.__exit__, None, None, None)
        with pytest.raises(asyncio.CancelledError):
            await task

    gate = consortium.hold("alpha")
    gate.__enter__()
    asyncio.run(cancelled())
    asked = consortium.stats()["repositories"]["alpha"]["requests"]
    with database.connect() as connection:
        begun = connection.execute(text("SELECT pass IS NOT NULL FROM harvest.source WHERE name = 'alpha'")).scalar_one()

    assert asked == 1  # nothing was asked after the cancellation
    assert begun  # and the answer that was under way, to Identify, was saved
    assert run().name == "Completed"
    assert consortium.stats()["repositories"]["alpha"]["verbs"] == {"Identify": 1, "ListRecords": 3}
    assert stored(database, "alpha") == held(consortium, "alpha")


@pytest.mark.prefect
def test_cancelling_a_deployed_run_in_the_ui_stops_at_a_page_boundary_and_loses_nothing(
    client: SyncPrefectClient, consortium: Consortium, write: Write, database: Engine, tmp_path: Path
) -> None:
    """operations 2, 3; harvest 21"""
    consortium.serve(Repository(name="alpha", group="hosted", records=500, page_size=5, latency=0.05))
    write(listed(consortium, ["alpha"]))
    prefect_server.deploy_all()
    flow_run = client.create_flow_run_from_deployment(client.read_deployment_by_name("harvest/harvest").id)

    worker = subprocess.Popen(  # what a worker starts for a run
        [sys.executable, "-m", "prefect", "flow-run", "execute", str(flow_run.id)],
        env={**os.environ, "PREFECT_API_URL": prefect_server.api_url()},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        consortium.wait_requests(5, name="alpha", timeout=60)
        client.set_flow_run_state(flow_run.id, Cancelling())  # what the button does
        said, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.wait()

    ended = client.read_flow_run(flow_run.id)
    assert ended.state is not None
    assert ended.state.type.value == "CANCELLED", said
    some = stored(database, "alpha")
    assert 0 < len(some) < 500
    answered = consortium.stats()["repositories"]["alpha"]["verbs"]["ListRecords"]
    assert len(some) == 5 * answered  # what the repository had answered was saved, to the last page
    assert "harvest-sources" in artifacts_of(client, ended)
    assert run().name == "Completed"
    assert stored(database, "alpha") == held(consortium, "alpha")
    assert consortium.stats()["repositories"]["alpha"]["verbs"]["ListRecords"] == 100


# ----------------------------------------------------- what a run comes to


def configuration(count: int, *, groups: int = 1) -> Configuration:
    names = [f"group-{number}" for number in range(groups)]
    sources = {f"s{number}": Source(name=f"s{number}", url="http://x.example/oai", group=names[number % groups]) for number in range(count)}
    return Configuration(sources=sources, groups={name: Group(name=name, limit=2) for name in names}, total_limit=64, seed=1)


def finished(name: str, outcome: Outcome, group: str = "group-0") -> PassFinished:
    error = None if outcome in (Outcome.COMPLETE, Outcome.HELD) else "broken"
    return PassFinished(source=name, group=group, outcome=outcome, totals=Totals(records=1), seconds=1.0, error=error)


@pytest.mark.parametrize(
    ("failed", "share", "verdict"),
    [
        (0, 0.0, Verdict.COMPLETED),
        (1, 0.0, Verdict.FAILED),  # 1 > 0
        (1, 0.5, Verdict.WITH_FAILURES),
        (2, 0.5, Verdict.WITH_FAILURES),  # 2 of 4 are half, not more
        (3, 0.5, Verdict.FAILED),
        (4, 1.0, Verdict.WITH_FAILURES),  # never
    ],
)
def test_a_run_fails_above_the_share_and_not_at_it(failed: int, share: float, verdict: Verdict) -> None:
    """operations 4"""
    progress = Progress(configuration(4))
    for number in range(4):
        progress.take(finished(f"s{number}", Outcome.FAILED if number < failed else Outcome.COMPLETE))

    assert progress.judge(share).verdict is verdict


def test_a_message_names_ten_and_counts_the_others() -> None:
    """operations 4"""
    progress = Progress(configuration(40))
    for number in range(12):
        progress.take(finished(f"s{number}", Outcome.FAILED))

    assert progress.judge(0.5).message.startswith("12 of 40 sources failed: s0, s1, s10, s11, s2, s3, s4, s5, s6, s7 and 2 more.")


def test_sources_of_a_group_that_is_owned_elsewhere_are_no_failures() -> None:
    """harvest 8"""
    progress = Progress(configuration(4, groups=2))
    progress.take(Notice(action="group.owned-elsewhere", message="", group="group-1"))
    progress.take(finished("s1", Outcome.BLOCKED, "group-1"))
    progress.take(finished("s0", Outcome.COMPLETE))

    assert progress.participants == 2
    assert progress.judge(0.0).verdict is Verdict.COMPLETED
    progress.take(Notice(action="group.owned-elsewhere", message="", group="group-0"))
    assert progress.judge(0.0).verdict is Verdict.OWNED_ELSEWHERE


def test_the_sentence_gives_records_speed_and_what_is_to_come() -> None:
    """operations 4; harvest 25"""
    now = 0.0
    progress = Progress(configuration(2), clock=lambda: now)
    progress.take(PageSaved(source="s0", group="group-0", page=Totals(records=500, pages=1), received=500, size=2000))
    now = 5.0  # 500 records in 5 s: 100 a second; 1,500 are to come: 15 s

    assert progress.sentence() == (
        "500 records on 1 pages, 100 a second; 1,500 to come in about 15s; 0 of 2 sources finished a pass, 0 failed"
    )
    assert progress.percent([]) == 25.0


@pytest.mark.parametrize(
    ("states", "idle"),
    [
        ({}, False),  # not seated yet
        ({SourceState.IDLE: 1}, False),  # one of the two is
        ({SourceState.IDLE: 2}, True),
        ({SourceState.IDLE: 1, SourceState.BLOCKED: 1}, True),
        ({SourceState.IDLE: 1, SourceState.DISABLED: 1}, True),
        *(({SourceState.IDLE: 1, busy: 1}, False) for busy in ("ready", "in flight", "saving", "paused", "waiting")),
    ],
)
def test_a_run_is_idle_when_all_are_seated_and_none_has_anything_to_do(states: dict[SourceState, int], idle: bool) -> None:
    """operations 3"""
    view = GroupView(name="group-0", limit=2, in_flight=0, in_flight_max=0, pages=0, states=states)

    assert Progress(configuration(2)).idle([view]) is idle
