"""The pinned versions work together: what ``prefect.yaml`` says is deployed by the real command, and runs are scheduled.

With a wrong FastAPI the server breaks; with SQLAlchemy 2.1 everything looks fine while no scheduled run is ever created.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.fakes import prefect_server

from prefect import Flow, get_client  # isort: skip  (after the module that keeps Prefect away from the developer's home)
from prefect.client.schemas.filters import FlowRunFilter  # isort: skip
from prefect.flows import load_flow_from_entrypoint  # isort: skip
from prefect.settings import PREFECT_API_URL, temporary_settings  # isort: skip
from prefect.utilities.callables import parameter_schema  # isort: skip

DEPLOYMENTS: list[dict[str, Any]] = YAML(typ="safe").load(prefect_server.ROOT / "prefect.yaml")["deployments"]


def numbers(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(name).split(".")[:3] if part.isdigit())


def test_the_versions_are_those_that_were_found_to_work_together() -> None:
    """operations 2"""
    assert version("prefect") == "3.8.8"
    assert (0, 139) <= numbers("fastapi") < (0, 151)
    assert (2, 0) <= numbers("sqlalchemy") < (2, 1)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_every_entry_point_loads_and_its_form_explains_each_field(deployment: dict[str, Any]) -> None:
    """operations 2, 4"""
    entrypoint = deployment["entrypoint"]
    assert ":" not in entrypoint, "a file as entry point loads the module a second time under another name"

    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint)

    assert flow.isasync
    assert flow.description
    schema = parameter_schema(flow).model_dump()
    for definition in schema["definitions"].values():
        for name, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{entrypoint}: {name} has no description"
            assert field.get("title"), f"{entrypoint}: {name} has no title"


def test_every_schedule_has_a_name_and_a_time_zone() -> None:
    """operations 2"""
    for deployment in DEPLOYMENTS:
        for schedule in deployment.get("schedules", []):
            assert schedule["slug"]
            assert schedule["timezone"]


@pytest.mark.prefect
def test_deploy_all_works_as_it_stands_and_runs_are_scheduled() -> None:
    """operations 2"""
    prefect_server.deploy_all()

    with temporary_settings({PREFECT_API_URL: prefect_server.api_url()}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("harvest/harvest")
        assert deployment.entrypoint == "flows.harvest.flow.harvest"
        assert not deployment.pull_steps
        assert deployment.work_pool_name == "windrow"
        assert deployment.enforce_parameter_schema
        assert set(deployment.tags) == {"windrow", "harvest"}
        assert deployment.global_concurrency_limit is not None
        assert deployment.global_concurrency_limit.limit == 1
        assert deployment.concurrency_options is not None
        assert deployment.concurrency_options.collision_strategy.value == "CANCEL_NEW"
        (schedule,) = deployment.schedules
        assert schedule.active
        assert schedule.slug == "every-two-minutes"
        wanted = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}, "state": {"type": {"any_": ["SCHEDULED"]}}})
        deadline = time.monotonic() + 30
        while not (runs := client.read_flow_runs(flow_run_filter=wanted)):
            assert time.monotonic() < deadline, "no run was scheduled"
            time.sleep(0.2)
        times = sorted(run.expected_start_time for run in runs if run.expected_start_time is not None)
        assert all((after - before).total_seconds() == 120 for before, after in pairwise(times))
