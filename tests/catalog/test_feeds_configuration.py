"""Sources that are files, SFTP drops and REST endpoints in ``sources.yaml``: what is read, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harvester.configuration import load
from harvester.feedkeys import FEED_KEYS
from harvester.feeds import FITS, Content, Feed, Paging
from harvester.keys import SOURCE_KEYS, schema
from harvester.problems import ConfigurationError
from harvester.secrets import SecretRef
from harvester.settings import Settings
from harvester.sources import Configuration, Deletions, Kind

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8zvJ1yT1xHq1sTqjV8gqTz0j1xwZ7b5o3zjz5d8a3n"
ENVIRON = {"DROP_PASSWORD": "x", "DROP_KEY": "y", "API_KEY": "z"}

FILES = {"url": "file:///srv/drop", "kind": "files"}
SFTP = {
    "url": "sftp://drop.example.org:2222/out",
    "kind": "sftp",
    "username": "me",
    "password": "env:DROP_PASSWORD",
    "feed": {"host_keys": [KEY]},
}
REST = {"url": "https://api.example.org/records", "kind": "rest"}


def configuration(tmp_path: Path, source: dict[str, Any], defaults: dict[str, Any] | None = None) -> Configuration:
    document = {"defaults": defaults or {}, "sources": {"a": source}}
    (tmp_path / "sources.yaml").write_text(json.dumps(document))  # JSON is YAML
    return load(tmp_path / "sources.yaml", Settings.load(), environ=ENVIRON)


def problems(tmp_path: Path, source: dict[str, Any], defaults: dict[str, Any] | None = None) -> list[str]:
    try:
        configuration(tmp_path, source, defaults)
    except ConfigurationError as error:
        return [f"{each.path.removeprefix('sources.')}: {each.what}; {each.allowed}" for each in error.problems]
    return []


def test_feeds_are_read_with_all_their_keys(tmp_path: Path) -> None:
    """catalog 4"""
    written = {
        **SFTP,
        "password": None,
        "deletions": "full",
        "feed": {
            "format": "iso2709",
            "identifier_prefix": "oai:a:",
            "files": ["*.mrc"],
            "deleted_files": ["gone*"],
            "unfinished": [".upload"],
            "settle": "2m",
            "move_to": "done",
            "unpacked_limit": "10GiB",
            "host_keys": [KEY, "SHA256:" + "A" * 43],
            "private_key": "env:DROP_KEY",
        },
    }
    source = configuration(tmp_path, written).sources["a"]
    assert (source.transport, source.kind, source.deletions) == ("sftp", Kind.SFTP, Deletions.FULL)
    assert source.feed == Feed(
        format=Content.ISO2709,
        identifier_prefix="oai:a:",
        files=("*.mrc",),
        deleted_files=("gone*",),
        unfinished=(".upload",),
        settle=120.0,
        move_to="done",
        unpacked_limit=10 * 2**30,
        host_keys=(KEY, "SHA256:" + "A" * 43),
        private_key=SecretRef(scheme="env", name="DROP_KEY"),
    )
    assert SecretRef(scheme="env", name="DROP_KEY") in source.references()
    assert json.loads(json.dumps(source.shown()))["feed"]["private_key"] == "env:DROP_KEY"
    rest = configuration(tmp_path, {**REST, "feed": {"records": "$.data.items", "paging": "offset", "since_parameter": "since"}}).sources[
        "a"
    ]
    assert rest.feed == Feed(records="$.data.items", paging=Paging.OFFSET, since_parameter="since")
    assert (rest.transport, configuration(tmp_path, FILES).sources["a"].transport) == ("rest", "files")


def test_what_defaults_say_for_oai_gives_way(tmp_path: Path) -> None:
    """catalog 4"""
    defaults = {"metadata_prefix": "oai_dc", "deletions": "sweep", "sweep_every": "3d", "windows": "30d", "overlap": "1h"}
    assert problems(tmp_path, FILES, defaults) == []
    source = configuration(tmp_path, FILES, defaults).sources["a"]
    assert (source.deletions, source.windows, source.sweep_every) == (Deletions.TOMBSTONES, None, None)
    assert configuration(tmp_path, {"url": "https://oai.example.org/"}, {"feed": {"settle": 5}}).sources["a"].feed is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({**FILES, "url": "https://a.example.org/"}, "a.url: the URL has 'https:', which does not go with kind: files"),
        ({**REST, "url": "file:///srv"}, "a.url: the URL has 'file:', which does not go with kind: rest"),
        ({"url": "sftp://a.example.org/out"}, "a.url: the URL has 'sftp:', which does not go with kind: bibliographic"),
        ({**FILES, "url": "file://srv/drop"}, "is no folder"),
        ({**SFTP, "url": "sftp://me@a.example.org/"}, "the URL contains credentials"),
        (
            {**FILES, "metadata_prefix": "marc21"},
            "a.metadata_prefix: metadata_prefix does nothing with kind: files; leave out metadata_prefix",
        ),
        ({**FILES, "headers": {"X-A": "b"}}, "headers does nothing with kind: files; leave out headers; it goes with kind: rest"),
        ({**REST, "sets": ["a"]}, "sets does nothing with kind: rest"),
        ({**FILES, "deletions": "sweep"}, "deletions: sweep cannot be used with kind: files"),
        ({"url": "https://oai.example.org/", "feed": {"settle": 5}}, "a.feed: feed does nothing with kind: bibliographic"),
        (
            {**FILES, "feed": {"records": "a.b"}},
            "a.feed.records: records does nothing with kind: files; leave it out; it goes with kind: rest",
        ),
        ({**REST, "feed": {"move_to": "done"}}, "a.feed.move_to: move_to does nothing with kind: rest"),
        ({**FILES, "feed": {"file": ["*.mrc"]}}, "did you mean"),
        ({**FILES, "feed": {"move_to": "../done"}}, "a.feed.move_to"),
        ({**FILES, "feed": {"files": ["../*.mrc"]}}, "a.feed.files[0]"),
        ({**SFTP, "feed": {}}, "a.feed: an SFTP server is not trusted without its key"),
        ({**SFTP, "feed": {"host_keys": ["my key"]}}, "'my key' is no host key"),
        ({**SFTP, "password": None}, "neither password nor private_key is there"),
        ({**SFTP, "feed": {"host_keys": [KEY], "private_key": "env:DROP_KEY"}}, "password and private_key contradict each other"),
        ({**SFTP, "feed": {"host_keys": [KEY], "private_key": "secret itself"}}, "a secret must not stand in the file"),
        ({**SFTP, "password": "open"}, "a secret must not stand in the file"),
        ({key: value for key, value in SFTP.items() if key != "username"}, "username is missing"),
        ({**REST, "feed": {"paging": "next", "page_parameter": "p"}}, "page_parameter does nothing with paging: next"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(tmp_path: Path, source: dict[str, Any], said: str) -> None:
    """catalog 4"""
    found = problems(tmp_path, source)
    assert any(said in each for each in found), found
    assert "secret itself" not in str(found)


@pytest.mark.parametrize("source", [FILES, SFTP, REST], ids=["files", "sftp", "rest"])
def test_the_schema_takes_what_the_loader_takes(tmp_path: Path, source: dict[str, Any]) -> None:
    """catalog 4"""
    assert problems(tmp_path, source) == []
    validator = Draft202012Validator(schema())
    assert not list(validator.iter_errors({"sources": {"a": source}}))
    assert list(validator.iter_errors({"sources": {"a": {**source, "feed": {"nothing": 1}}}}))


def test_every_key_is_said_to_fit_some_kind_and_is_explained() -> None:
    """catalog 4"""
    assert FITS.keys() == {name for name, _, _ in FEED_KEYS} == set(Feed().shown())
    admins = (Path(__file__).parent.parent.parent / "docs" / "admins.md").read_text(encoding="utf-8")
    assert [name for name, _, _ in FEED_KEYS if f"`{name}`" not in admins] == []
    assert "feed" in {key.name for key in SOURCE_KEYS}
