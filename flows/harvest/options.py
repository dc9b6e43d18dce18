"""The parameters of the flow ``harvest``, which Prefect's UI shows as a form."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Mode(StrEnum):
    """When a run is over, if its time is not up before."""

    UNTIL_IDLE = "until idle"
    WHOLE_BUDGET = "whole budget"
    EVERY_SOURCE_ONCE = "every source once"


class HarvestOptions(BaseModel):
    """What a run harvests, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[Name] = Field(
        default=[], max_length=1000, title="Sources", description="Only these sources, by their names in sources.yaml; empty: all of them."
    )
    groups: list[Name] = Field(
        default=[], max_length=1000, title="Groups", description="Only the sources of these groups; empty: all of them."
    )
    mode: Mode = Field(
        default=Mode.UNTIL_IDLE,
        title="When it is over",
        description="until idle: what is due, until nothing is left to do. whole budget: what is due, again and again, until the time "
        "is up. every source once: each source gets one pass, whether it is due or not.",
    )
    budget_minutes: float = Field(
        default=25.0,
        gt=0,
        le=24 * 60,
        title="Time budget in minutes",
        description="The run stops cleanly at a page boundary when this time is up; the next run goes on from there.",
    )
    failed_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        title="Share of failed sources",
        description="When more than this share of the sources failed (0.5 is half of them), the run counts as failed. Fewer are named in "
        "the message of a completed run.",
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        title="File of sources",
        description="Path of sources.yaml where the run takes place; when it is empty, WINDROW_SOURCES or sources.yaml.",
    )
