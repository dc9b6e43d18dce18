"""``windrow sources``: what is printed, what is written, what is requested and the exit status."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands import proposal
from flows.commands.additions import Addition, draft
from flows.commands.sources import app, schema_text
from harvester.oai import Format
from harvester.problems import ConfigurationError
from harvester.settings import Settings
from tests.fakes.oai import Consortium, Fault, Repository

Run = Callable[..., Any]

ALPHA = Repository(name="alpha", records=120, page_size=50, formats=("oai_dc", "marcxml", "marc21"), sets=("books", "maps:old"))
BETA = Repository(name="beta", records=10, formats=("oai_dc",), granularity="YYYY-MM-DD", deleted_record="no")
FOLIO = Repository(name="folio", records=7, requires_argument=("apikey", "k-1234"), errors_status="folio")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("WINDROW_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def consortium() -> Iterator[Consortium]:
    with Consortium([ALPHA, BETA, FOLIO]) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that commands find by default; not written yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sources.yaml"


@pytest.fixture
def run(file: Path) -> Run:
    """Runs ``windrow sources``."""

    def running(*arguments: str) -> Any:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return running


def requests(consortium: Consortium) -> int:
    return sum(len(consortium.log(name)) for name in consortium.names)


# ------------------------------------------------------------------- check


def test_check_says_that_nothing_is_wrong(run: Run, file: Path) -> None:
    """harvest 26"""
    file.write_text("groups: {g: }\nsources:\n  a: {url: http://a.org}\n  b: {url: http://b.org, group: g}\n")
    result = run("check")
    assert (result.exit_code, result.stdout) == (0, "sources.yaml: 2 sources in 2 groups, nothing wrong\n")
    result = run("check", "--json")
    assert json.loads(result.stdout) == {"file": "sources.yaml", "sources": 2, "groups": 2, "problems": []}


def test_check_prints_every_problem_on_its_own_line_and_sends_nothing(run: Run, file: Path, consortium: Consortium) -> None:
    """harvest 26"""
    file.write_text(f"sources:\n  a: {{url: ftp://a.org}}\n  b: {{url: '{consortium.url('beta')}', interval: 0}}\n  C: {{urk: x}}\n")
    for arguments in (["check"], ["check", "--live"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert [line.partition(": ")[0] for line in result.stdout.splitlines()] == [f"sources.yaml:{n}" for n in (2, 3, 4, 4)]
    result = run("check", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["problems"][0] == {
        "file": "sources.yaml",
        "line": 2,
        "path": "sources.a.url",
        "what": "the URL has 'ftp:'",
        "allowed": "allowed: http:// or https://, a host and a path, such as https://alpha.example.org/oai",
    }
    assert requests(consortium) == 0


def test_check_names_the_variable_that_is_wrong(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 5"""
    file.write_text("sources: {}")
    monkeypatch.setenv("WINDROW_GROUP_HOSTED_LIMIT", "2")
    result = run("check")
    assert result.exit_code == 2
    assert result.stdout.startswith("environment: WINDROW_GROUP_HOSTED_LIMIT: sources.yaml has no such group")
    monkeypatch.setenv("WINDROW_TOTAL_LIMIT", "0")
    assert run("check", "--json").exit_code == 2


def test_check_reads_the_file_that_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("sources: {}")
    assert run("check", "--file", "mine.yaml").stdout == "mine.yaml: 0 sources in 0 groups, nothing wrong\n"
    monkeypatch.setenv("WINDROW_SOURCES", "mine.yaml")
    assert run("check").exit_code == 0
    assert "there is no such file" in run("check", "--file", "other.yaml").stdout


def test_a_live_check_reports_what_each_repository_answers(
    run: Run, file: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """harvest 10, 26"""
    monkeypatch.setenv("FOLIO_KEY", "k-1234")
    file.write_text(
        f"""
sources:
  alpha: {{url: "{consortium.url("alpha")}", sets: [books]}}
  beta: {{url: "{consortium.url("beta")}", metadata_prefix: oai_dc}}
  folio: {{url: "{consortium.url("folio")}", query: {{apikey: env:FOLIO_KEY}}}}
  off: {{url: "{consortium.dead_url()}", enabled: false}}
"""
    )
    result = run("check", "--live", "--json")
    assert result.exit_code == 0
    alpha, beta, folio = json.loads(result.stdout)["live"]
    assert (alpha["granularity"], alpha["deleted_record"], alpha["page_size"]) == ("YYYY-MM-DDThh:mm:ssZ", "persistent", 50)
    assert (alpha["prefix_exists"], alpha["complete_list_size"], alpha["formats"]) == (True, 69, ["oai_dc", "marcxml", "marc21"])
    assert alpha["milliseconds"].keys() == {"Identify", "ListMetadataFormats", "ListRecords"}
    assert (beta["granularity"], beta["page_size"], len(beta["warnings"])) == ("YYYY-MM-DD", 10, 1)
    assert "keeps no deletions" in beta["warnings"][0]
    assert (folio["page_size"], folio["problems"]) == (7, [])
    assert "k-1234" not in result.stdout
    text = run("check", "--live")
    assert "sources.yaml: 3 sources asked, 0 with problems" in text.stdout
    assert "beta: warning: the repository keeps no deletions" in text.stdout


def test_a_live_check_names_what_does_not_work_and_ends_with_3(run: Run, file: Path, consortium: Consortium) -> None:
    """harvest 26"""
    consortium.fault("alpha", Fault(kind="html"))
    file.write_text(
        f"""
sources:
  alpha: {{url: "{consortium.url("alpha")}"}}
  beta: {{url: "{consortium.url("beta")}"}}
  dead: {{url: "{consortium.dead_url()}", connect_timeout: 2s}}
  folio: {{url: "{consortium.url("folio")}"}}
  resting: {{url: "{consortium.url("beta")}", metadata_prefix: oai_dc, blackouts: [{{start: 00:00, end: 24:00, zone: UTC}}]}}
  secret: {{url: "{consortium.url("folio")}", query: {{apikey: prefect:folio}}}}
"""
    )
    result = run("check", "--live", "--json")
    assert result.exit_code == 3
    found = {each["source"]: each for each in json.loads(result.stdout)["live"]}
    assert "HTML" in found["alpha"]["problems"][0]
    assert found["beta"]["problems"] == ["the repository does not offer marc21; it offers oai_dc"]
    assert (found["beta"]["prefix_exists"], found["beta"]["page_size"]) == (False, None)  # what cannot work is not asked for
    assert found["dead"]["problems"][0].startswith("Identify: no connection to ")
    assert "status 401" in found["folio"]["problems"][0]
    assert found["resting"]["problems"] == []
    assert found["resting"]["milliseconds"] == {}
    assert "blackout hours until" in found["resting"]["warnings"][0]
    assert "only inside a Prefect flow" in found["secret"]["problems"][0]
    assert "5 with problems" in run("check", "--live").stdout


def test_a_live_check_stays_within_the_limits_of_the_groups(run: Run, file: Path) -> None:
    """harvest 5, 26"""
    hosted = [Repository(name=f"h{number}", group="hosted", records=1, latency=0.02) for number in range(8)]
    others = [Repository(name=f"o{number}", group="default", records=1, latency=0.02) for number in range(4)]
    with Consortium([*hosted, *others]) as consortium:
        lines = [f'  {each.name}: {{url: "{consortium.url(each.name)}", group: {each.group}}}' for each in (*hosted, *others)]
        file.write_text("\n".join(["groups: {hosted: {limit: 3}, default: {limit: 1}}", "sources:", *lines]))
        assert run("check", "--live").exit_code == 0
        groups = consortium.stats()["groups"]
        assert (groups["hosted"]["in_flight_max"], groups["default"]["in_flight_max"]) == (3, 1)
        assert requests(consortium) == 36  # 12 repositories, 3 verbs each


# -------------------------------------------------------------- list, schema


def test_list_shows_sources_with_their_groups_and_secrets_as_references(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20, 26"""
    monkeypatch.setenv("KEY", "hunter2")
    lines = ["groups: {g: {limit: 3}}", "sources:"]
    lines += ["  b: {url: http://b.org, group: g, bearer_token: env:KEY}", "  a: {url: http://a.org, enabled: false}"]
    file.write_text("\n".join(lines))
    result = run("list")
    assert [line.split()[:4] for line in result.stdout.splitlines()[1:3]] == [["a", "default", "2", "marc21"], ["b", "g", "3", "marc21"]]
    assert "disabled" in result.stdout
    assert result.stdout.endswith("2 sources in 2 groups\n")
    shown = json.loads(run("list", "--json").stdout)
    assert [source["name"] for source in shown["sources"]] == ["a", "b"]
    assert shown["sources"][1]["bearer_token"] == "env:KEY"
    assert shown["groups"][1] == {"name": "g", "limit": 3, "requests_per_minute": None, "blackouts": []}
    assert shown["total_limit"] == 64


def test_what_is_wrong_is_told_on_standard_error_when_it_was_not_asked_for(run: Run, file: Path) -> None:
    file.write_text("sources: [a]")
    for arguments in (["list"], ["add", "http://a.org"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("sources.yaml:1: sources: a list cannot stand here")


def test_schema_prints_the_published_schema(run: Run) -> None:
    """harvest 26"""
    assert run("schema").stdout == schema_text()


# --------------------------------------------------------------------- add

COMMENTED = """\
# Our libraries
groups:
  hosted: {limit: 2}   # one server for all

defaults:
  interval: 5m

sources:
  # the oldest
  "first":   # quoted
      url:   'http://first.org/oai'
      sets: [a,
             b]   # two
      # nothing more

# the end
"""


def test_add_asks_the_repository_and_writes_its_lines_behind_the_last_source(run: Run, file: Path, consortium: Consortium) -> None:
    """harvest 26"""
    file.write_text(COMMENTED)
    file.chmod(0o640)
    result = run("add", consortium.url("alpha") + "?verb=Identify", "--group", "hosted", "--set", "books", "--set", "maps:old")
    assert result.exit_code == 0
    before, after = COMMENTED.split("\n# the end")
    assert file.read_text() == (
        before
        + f"""  # Library alpha
  library-alpha:
      url: {consortium.url("alpha")}
      group: hosted
      sets: [books, maps:old]

# the end"""
        + after
    )
    assert file.stat().st_mode & 0o777 == 0o640
    assert "formats      oai_dc, marcxml, marc21" in result.stdout
    assert "granularity  YYYY-MM-DDThh:mm:ssZ" in result.stdout
    assert result.stdout.endswith("sources.yaml: 2 sources in 2 groups\n")
    assert [path.name for path in file.parent.iterdir()] == ["sources.yaml"]


def test_add_makes_the_file_when_there_is_none(run: Run, file: Path, consortium: Consortium) -> None:
    assert run("add", consortium.url("beta"), "--name", "beta").exit_code == 0
    url = consortium.url("beta")
    # Dublin Core, because that is all it offers, and a sweep, because it keeps no deletions
    assert file.read_text() == f"sources:\n  # Library beta\n  beta:\n    url: {url}\n    metadata_prefix: oai_dc\n    deletions: sweep\n"
    assert run("check", "--live").exit_code == 0


def test_add_finds_another_name_when_the_first_is_taken(run: Run, file: Path, consortium: Consortium) -> None:
    for prefix in ("marc21", "marcxml", "oai_dc"):
        assert run("add", consortium.url("alpha"), "--prefix", prefix).exit_code == 0
    shown = json.loads(run("list", "--json").stdout)["sources"]
    assert [(each["name"], each["metadata_prefix"]) for each in shown] == [
        ("library-alpha", "marc21"),
        ("library-alpha-2", "marcxml"),
        ("library-alpha-3", "oai_dc"),
    ]


def test_add_reads_a_key_from_the_environment(run: Run, file: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    """harvest 20"""
    monkeypatch.setenv("FOLIO_KEY", "k-1234")
    result = run("add", consortium.url("folio"), "--query", "apikey=env:FOLIO_KEY", "--header", "X-Okapi-Tenant=diku")
    assert result.exit_code == 0
    assert "k-1234" not in result.output + file.read_text()
    assert "    headers:\n      X-Okapi-Tenant: diku\n    query:\n      apikey: env:FOLIO_KEY\n" in file.read_text()
    assert ("x-okapi-tenant", "diku") in consortium.last_headers("folio")


def test_add_prints_without_writing_on_a_dry_run(run: Run, file: Path, consortium: Consortium) -> None:
    result = run("add", consortium.url("alpha"), "--dry-run", "--name", "alpha")
    assert (result.exit_code, file.exists()) == (0, False)
    assert f"  alpha:\n    url: {consortium.url('alpha')}\n" in result.stdout


@pytest.mark.parametrize(
    ("repository", "arguments", "status", "said"),
    [
        ("alpha", ["--group", "hostd"], 2, "the group 'hostd' is not listed under groups:, did you mean hosted?"),
        ("alpha", ["--name", "first"], 2, "there is already a source called first"),
        ("alpha", ["--name", "No Name"], 2, "the name 'No Name' cannot be used"),
        ("alpha", ["--set", "a b"], 2, "'a b' cannot be used"),
        ("alpha", ["--query", "apikey=hunter2"], 2, "a secret must not stand in the file"),
        ("alpha", ["--query", "apikey"], 2, "command line: --query: there is no ="),
        ("alpha", ["--header", "Authorization=env:NOT_SET_ANYWHERE"], 2, "the environment variable NOT_SET_ANYWHERE is not set"),
        ("alpha", ["--set", "book"], 3, "the repository has no set book; did you mean books?"),
        ("beta", ["--set", "book"], 3, "the repository has no set book; it has none"),
        ("beta", ["--prefix", "marc21"], 3, "the repository does not offer marc21; it offers oai_dc"),
        ("folio", [], 3, "Identify: the repository refuses the request (status 401)"),
        (None, [], 3, "Identify: no connection to "),
    ],
)
def test_add_leaves_the_file_alone_when_anything_is_wrong(
    run: Run, file: Path, consortium: Consortium, repository: str | None, arguments: list[str], status: int, said: str
) -> None:
    """harvest 26"""
    file.write_text(COMMENTED)
    result = run("add", consortium.url(repository) if repository else consortium.dead_url(), *arguments)
    assert result.exit_code == status
    assert said in result.stderr
    assert "hunter2" not in result.output
    assert file.read_text() == COMMENTED
    assert (requests(consortium) == 0) is (status == 2 or repository is None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a.org/oai", "the URL has 'ftp:'"),
        ("a.org", "the URL has no scheme"),
        ("http://reader:hunter2@a.org/oai", "the URL contains credentials"),
        ("http://[a.org", "the URL cannot be read"),
        ("", "the URL has no scheme"),
    ],
)
def test_add_refuses_a_bad_url(run: Run, file: Path, url: str, said: str) -> None:
    result = run("add", url)
    assert (result.exit_code, file.exists()) == (2, False)
    assert said in result.stderr
    assert "hunter2" not in result.stderr


def test_add_refuses_the_same_list_of_records_under_another_name(run: Run, file: Path, consortium: Consortium) -> None:
    assert run("add", consortium.url("alpha"), "--name", "one").exit_code == 0
    before = file.read_text()
    result = run("add", consortium.url("alpha"), "--name", "two")
    assert (result.exit_code, file.read_text()) == (2, before)
    assert "is already the source one" in result.stderr


# ------------------------------------------------- lines and proposals, without requests


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sources:", "sources:\n  new:\n    url: http://n.org\n"),
        ("sources: {}\n", "sources:\n  new:\n    url: http://n.org\n"),
        ("sources: {}   # none yet\ngroups: {}\n", "sources:   # none yet\n  new:\n    url: http://n.org\ngroups: {}\n"),
        ("sources: ~\n", "sources:\n  new:\n    url: http://n.org\n"),
        ("sources:\n# none yet\n", "sources:\n  new:\n    url: http://n.org\n# none yet\n"),
        ("sources:\n a: {url: http://a.org}", "sources:\n a: {url: http://a.org}\n new:\n   url: http://n.org\n"),
        ("sources:\n    a:\n      url: http://a.org\n", "sources:\n    a:\n      url: http://a.org\n    new:\n      url: http://n.org\n"),
        (
            "sources:\r\n  a:\r\n    url: http://a.org\r\ngroups: {}\r\n",
            "sources:\r\n  a:\r\n    url: http://a.org\r\n  new:\r\n    url: http://n.org\r\ngroups: {}\r\n",
        ),
        ("sources:\r\n  a:\r\n    url: http://a.org", "sources:\r\n  a:\r\n    url: http://a.org\r\n  new:\r\n    url: http://n.org\r\n"),
        (
            "sources:\n  a:\n    url: http://a.org\n    # about a\n  # not about a\ngroups: {}\n",
            "sources:\n  a:\n    url: http://a.org\n    # about a\n  new:\n    url: http://n.org\n  # not about a\ngroups: {}\n",
        ),
        (
            "sources:\n  a:\n    url: http://a.org\n\n  b:\n    url: >-\n      http://b.org\n\n# end\n",
            "sources:\n  a:\n    url: http://a.org\n\n  b:\n    url: >-\n      http://b.org\n\n  new:\n    url: http://n.org\n\n# end\n",
        ),
        ("\ufeffsources:\n  a: {url: http://a.org}\n", "\ufeffsources:\n  a: {url: http://a.org}\n  new:\n    url: http://n.org\n"),
        (
            "---\nsources:\n  a:\n    sets:\n    - x\n    - y\n    url: http://a.org\n...\n",
            "---\nsources:\n  a:\n    sets:\n    - x\n    - y\n    url: http://a.org\n  new:\n    url: http://n.org\n...\n",
        ),
    ],
)
def test_lines_are_inserted_without_touching_the_others(file: Path, before: str, after: str) -> None:
    file.write_bytes(before.encode())
    drafted = draft(file, Addition(name="new", keys={"url": "http://n.org"}), Settings.load())
    drafted.write()
    assert file.read_bytes().decode() == after
    assert drafted.source.url == "http://n.org"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("sources: {a: {url: http://a.org}}\n", "sources: is written in braces"),
        ("sources:\n  {}\n", "sources: is empty in an unusual way"),
        ("{groups: {}, sources: {}}\n", "not YAML"),
        ("sources: {a: {url: nowhere}}\n", "the URL has no scheme"),
    ],
)
def test_a_file_in_which_no_line_can_be_inserted_is_left_alone(file: Path, before: str, said: str) -> None:
    file.write_text(before)
    with pytest.raises(ConfigurationError, match=said):
        draft(file, Addition(name="new", keys={"url": "http://n.org"}), Settings.load())
    assert file.read_text() == before


def test_a_file_that_was_changed_in_the_meantime_is_left_alone(file: Path) -> None:
    file.write_text("sources: {}\n")
    drafted = draft(file, Addition(name="new", keys={"url": "http://n.org"}), Settings.load())
    file.write_text("sources: {} # mine\n")
    with pytest.raises(ConfigurationError, match="changed in the meantime"):
        drafted.write()
    assert file.read_text() == "sources: {} # mine\n"


def test_a_link_to_the_file_stays_a_link(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("sources: {}\n")
    file.symlink_to(real)
    draft(file, Addition(name="new", keys={"url": "http://n.org"}), Settings.load()).write()
    assert file.is_symlink()
    assert "new:" in real.read_text()


@pytest.mark.parametrize("spec", ["yes", "null", "1.5", "a:b", "a#b", "'q'", '"', "é", "a\\b", "{x}", "-", "*a", "!a", "%41"])
def test_a_value_that_yaml_would_misread_is_quoted(file: Path, spec: str) -> None:
    drafted = draft(
        file, Addition(name="new", keys={"url": "http://n.org", "sets": [spec]}, comment="Ends\n here: \x1b[31m"), Settings.load()
    )
    assert drafted.source.sets == (spec,)


@pytest.mark.parametrize(
    ("repository", "url", "taken", "name"),
    [
        ("Alder Public Library", "http://x.org", (), "alder-public-library"),
        ("Alder Public Library", "http://x.org", ("alder-public-library",), "alder-public-library-2"),
        ("Universitätsbibliothek Köln", "http://x.org", (), "universitatsbibliothek-koln"),
        ("図書館", "https://www.lib.example.org/oai", (), "lib-example-org"),
        ("", "https://oai.example.org/oai", (), "example-org"),
        ("", "http://[a", (), "source"),
        ("A very long name of a library that nobody would ever want to type", "http://x.org", (), "a-very-long-name-of-a-library-that"),
    ],
)
def test_a_name_is_proposed_from_the_repository_or_its_host(repository: str, url: str, taken: tuple[str, ...], name: str) -> None:
    assert proposal.name(repository=repository, url=url, taken=taken) == name


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["oai_dc", "marcxml", "marc21"], "marc21"),
        (["oai_dc", "marcxml"], "marcxml"),
        (["oai_dc", "marc21_withholdings"], "marc21_withholdings"),
        (["oai_dc", "MARC21"], "MARC21"),
        (["oai_dc", "slim:http://www.loc.gov/MARC21/slim"], "slim"),
        (["oai_dc", "mods"], "mods"),
        (["rdf", "oai_dc"], "oai_dc"),
        (["rdf", "json"], "json"),
        ([], None),
    ],
)
def test_the_richest_format_is_proposed(offered: list[str], chosen: str | None) -> None:
    parts: list[Any] = [each.partition(":") for each in offered]
    formats = [Format(prefix=prefix, namespace=namespace, schema="") for prefix, _, namespace in parts]
    assert proposal.prefix(formats) == chosen


def test_a_file_that_cannot_be_replaced_stays_as_it_is_and_leaves_no_other_behind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("sources: {}\n")
    drafted = draft(file, Addition(name="new", keys={"url": "http://n.org"}), Settings.load())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigurationError, match="cannot be written: Permission denied"):
        drafted.write()
    assert [(path.name, path.read_text()) for path in file.parent.iterdir()] == [("sources.yaml", "sources: {}\n")]
