"""The parameters of the flow ``validate``, which Prefect's UI shows as a form."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]


class ValidateOptions(BaseModel):
    """What a run validates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[Name] = Field(
        default=[], max_length=1000, title="Sources", description="Only these sources, by their names; empty: all of them."
    )
    everything: bool = Field(
        default=False,
        title="Everything again",
        description="Everything that is stored, by the rules, readers and policies of today; without it, what changed since the last run.",
    )
    workers: int = Field(default=1, ge=1, le=64, title="Processes", description="How many processes share the work of this run.")
    policies: str | None = Field(
        default=None,
        min_length=1,
        title="File of policies",
        description="Path of policies.yaml where the run takes place; when it is empty, WINDROW_POLICIES, or none.",
    )
