"""The JSON Schema of sources.yaml: published as it is generated, and of one mind with the loader."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from flows.commands.sources import schema_text
from harvester.configuration import load
from harvester.keys import SOURCE_KEYS, schema
from harvester.problems import ConfigurationError
from harvester.settings import Settings
from harvester.sources import Source

ROOT = Path(__file__).resolve().parents[2]
VALIDATOR = Draft202012Validator(schema())


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("WINDROW_")]:
        monkeypatch.delenv(name)


def test_the_published_schema_is_the_generated_one() -> None:
    """harvest 26"""
    assert (ROOT / "docs" / "sources.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "write it again: windrow sources schema > docs/sources.schema.json"
    )


def test_the_schema_is_a_schema_and_the_example_fits_it() -> None:
    Draft202012Validator.check_schema(schema())
    example = YAML(typ="safe", pure=True).load((ROOT / "sources.yaml").read_text(encoding="utf-8"))
    for source in example["sources"].values():
        if "start" in source:
            source["start"] = source["start"].isoformat()  # JSON has no dates
    assert list(VALIDATOR.iter_errors(example)) == []


def test_every_key_fills_a_field_and_every_field_has_a_key_with_a_meaning() -> None:
    assert [key.name for key in SOURCE_KEYS if not key.meaning.endswith(".")] == []
    assert {key.name for key in SOURCE_KEYS} == {field.name for field in dataclasses.fields(Source)} - {"name"}


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ({"url": "https://a.org/oai"}, True),
        ({"url": "https://a.org/oai", "interval": "1h30m", "page_bytes_limit": "64MiB", "delete_hold_share": "25%"}, True),
        ({"url": "https://a.org/oai", "interval": 90, "sets": ["a"], "windows": None, "requests_per_minute": 3}, True),
        ({"url": "https://a.org/oai", "start": "2015-01-01T00:00:00Z", "granularity": None}, True),
        ({"url": "https://a.org/oai", "blackouts": [{"start": "08:00", "end": "24:00", "zone": "UTC", "days": ["mon-fri"]}]}, True),
        ({}, False),
        ({"url": "ftp://a.org/oai"}, False),
        ({"url": "https://u:p@a.org/oai"}, False),
        ({"url": "https://a.org/oai", "interval": "2 minutes"}, False),
        ({"url": "https://a.org/oai", "interval": 0}, False),
        ({"url": "https://a.org/oai", "sets": "a"}, False),
        ({"url": "https://a.org/oai", "deletions": "none"}, False),
        ({"url": "https://a.org/oai", "password": "hunter2"}, False),
        ({"url": "https://a.org/oai", "blackouts": [{"start": "8"}]}, False),
        ({"url": "https://a.org/oai", "page_bytes_limit": "64M"}, False),
        ({"url": "https://a.org/oai", "gruop": "x"}, False),
    ],
)
def test_the_schema_and_the_loader_agree(tmp_path: Path, source: dict[str, Any], right: bool) -> None:
    content = {"sources": {"a": source}}
    assert VALIDATOR.is_valid(content) is right
    path = tmp_path / "sources.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(content, stream)
    if right:
        assert "a" in load(path, Settings.load()).sources
    else:
        with pytest.raises(ConfigurationError):
            load(path, Settings.load())
