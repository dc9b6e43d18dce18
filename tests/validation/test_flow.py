"""The flow ``validate`` for real: a Prefect server and PostgreSQL; final states, artifacts, and what starts a run."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy.engine import Engine

from flows.validation.options import ValidateOptions
from flows.validation.station import Station, Tally
from flows.validation.store import ValidationStore
from tests.fakes import prefect_server
from tests.validation.shelf import Shelf, bad, xml

from flows.validation.flow import validate  # isort: skip  (after the module that keeps Prefect away from the developer's home)
from prefect import get_client  # isort: skip
from prefect.blocks.system import Secret  # isort: skip
from prefect.client.orchestration import SyncPrefectClient  # isort: skip
from prefect.client.schemas.filters import ArtifactFilter  # isort: skip
from prefect.client.schemas.objects import State  # isort: skip
from prefect.settings import PREFECT_API_URL, temporary_settings  # isort: skip

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: prefect_server.api_url()}), get_client(sync_client=True) as found:
        yield found
    gc.collect()


@pytest.fixture
def shelf(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("WINDROW_DATABASE_URL", database_url)
    return Shelf(database)


def run(**options: Any) -> State[Any]:
    state = asyncio.run(validate(ValidateOptions(**options), return_state=True))
    assert isinstance(state, State)
    return state


def artifacts_of(client: SyncPrefectClient, state: State[Any]) -> dict[str, str]:
    wanted = ArtifactFilter.model_validate({"flow_run_id": {"any_": [state.state_details.flow_run_id]}})
    return {str(each.key): str(each.data) for each in client.read_artifacts(artifact_filter=wanted)}


@pytest.mark.prefect
def test_a_run_passes_on_what_is_right_and_shows_counts_only(client: SyncPrefectClient, shelf: Shelf) -> None:
    """catalog 7, 13; operations 3, 4"""
    for number in range(9):
        shelf.put(f"oai:{number}", xml("949 ## $aZyxwora", number=number))
    shelf.put("oai:bad", bad("Zyxwora"))
    state = run()
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    assert state.message == "10 read, 9 pass (9 with warnings), 1 in quarantine, 0 deleted, 0 sources held."
    shown = artifacts_of(client, state)
    assert "dataField/undefinedField" in shown["validate-summary"]
    assert "alpha" in shown["validate-sources"]
    assert not [key for key, data in shown.items() if "Zyxwora" in data]


@pytest.mark.prefect
def test_a_held_source_is_the_name_of_the_state_and_a_wrong_file_fails_before_anything_is_done(
    client: SyncPrefectClient, shelf: Shelf, tmp_path: Path
) -> None:
    """catalog 6, 8; operations 3"""
    shelf.fill(10, failing=8)
    state = run()
    assert (state.type.value, state.name) == ("COMPLETED", "SourcesHeld")
    assert str(state.message).endswith("Held: alpha.")
    policy = tmp_path / "policies.yaml"
    policy.write_text("all: {wrong: 1}\n")
    state = run(policies=str(policy), everything=True)
    assert (state.type.value, "Nothing was validated" in str(state.message)) == ("FAILED", True)
    policy.write_text("privacy: {tokens: tokenise, key: prefect:patron-tokens}\n")
    state = run(policies=str(policy))
    assert "there is no Prefect Secret block" in str(state.message)
    Secret(value="1:4f9a1c77e0b25d8836aa01bd94ce52f7").save("patron-tokens", overwrite=True)  # type: ignore[unused-coroutine]
    ValidationStore(shelf.database).approve("alpha", by="somebody", reason="")
    assert run(policies=str(policy)).name == "Completed"


def test_a_run_that_is_told_to_stop_ends_between_two_batches(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """operations 5; catalog 10"""
    from flows.validation.policies import Policies

    monkeypatch.setattr("flows.validation.store.BATCH", 5)
    shelf.fill(30)
    station = Station(database=shelf.database, policies=Policies())
    station.progress = lambda tally: station.stop()
    monkeypatch.setattr("flows.validation.station.STINT", 0.0)
    former = ValidationStore.batch

    def stop_after(self: ValidationStore, *arguments: Any) -> Any:
        found = former(self, *arguments)
        station.stop()
        return found

    with monkeypatch.context() as stopping:
        stopping.setattr(ValidationStore, "batch", stop_after)
        tally: Tally = station.run()
    assert tally.read == 5
    assert shelf.run().read == 25


def test_a_harvest_that_is_over_starts_a_run() -> None:
    """operations 2"""
    deployments = YAML(typ="safe").load(prefect_server.ROOT / "prefect.yaml")["deployments"]
    [deployment] = [each for each in deployments if each["name"] == "validate"]
    assert deployment["schedules"][0]["cron"] == "*/15 * * * *"
    [trigger] = deployment["triggers"]
    assert trigger["expect"] == ["prefect.flow-run.Completed", "prefect.flow-run.CompletedWithFailures"]
    assert trigger["match_related"] == {"prefect.resource.role": "flow", "prefect.resource.name": "harvest"}


@pytest.mark.prefect
def test_the_deployment_is_accepted_with_its_trigger(client: SyncPrefectClient) -> None:
    """operations 2"""
    prefect_server.deploy_all()
    deployment = client.read_deployment_by_name("validate/validate")
    assert deployment.entrypoint == "flows.validation.flow.validate"
    found = client._client.post("/automations/filter", json={}).json()
    # The server keeps what it expects as a set, and gives it in any order.
    assert [sorted(each["trigger"]["expect"]) for each in found if each["name"].startswith("validate")] == [
        ["prefect.flow-run.Completed", "prefect.flow-run.CompletedWithFailures"]
    ]
