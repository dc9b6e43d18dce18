"""The house rules that a program can check: who imports what, how long a module is, what may not stand in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("harvester", "db", "flows")
STATIONS = ("harvest", "validation", "sync", "authority", "patrons")
SHARED = ("catalog", "folio")  # what every station may use
OPEN = ("flows.cli", "flows.commands", "flows.report")  # what may import everything
LONGEST = 700  # lines: beyond it there is a second noun in the module

# A library that only certain modules may touch, by the beginning or the end of their names; the rest must not know it exists.
BORDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prefect": (("flows.report.alerts",), (".flow",)),
    "sqlalchemy": (("db.",), (".store", ".warehouse")),
    "psycopg": (("db.",), (".store",)),
    "alembic": (("db.",), ()),
    "httpx": (("harvester.client", "flows.folio", "flows.sync.rest", "flows.catalog.feeds", "flows.patrons.deliver"), ()),
    "pymarc": (("flows.catalog",), ()),
    "pyoxigraph": (("flows.catalog",), ()),
    "asyncssh": (("flows.catalog.feeds", "flows.patrons.deliver"), ()),
    "typer": (("flows.cli", "flows.commands"), ()),
    "rich": (("flows.cli", "flows.commands"), ()),
}


def may_touch(module: str, library: str) -> bool:
    """Whether a module stands at the border of a library."""
    beginnings, endings = BORDERS[library]
    return module.startswith(beginnings) or module.endswith(endings)


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product: its dotted name and its file."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield dotted.removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            name = node.module or ""
            yield name, node.lineno
            yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)


def may_import(module: str, target: str) -> bool:
    """The directions of the architecture, for imports among our own packages."""
    top, _, rest = target.partition(".")
    if top not in PACKAGES or module.startswith(OPEN):
        return True
    if module.startswith(("harvester", "db")):
        return top == module.split(".")[0]
    if top in ("harvester", "db"):
        return True
    own = module.split(".")[1] if "." in module else ""
    station = rest.split(".")[0]
    return station in ("", own, *SHARED) or (own == "" and module == "flows")


ALL = list(modules())


@pytest.mark.parametrize(("module", "path"), ALL, ids=[module for module, _ in ALL])
def test_imports_go_in_one_direction(module: str, path: Path) -> None:
    wrong = [f"{path}:{line}: {module} must not import {target}" for target, line in imports(path) if not may_import(module, target)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("module", "path"), ALL, ids=[module for module, _ in ALL])
def test_foreign_libraries_stay_at_their_borders(module: str, path: Path) -> None:
    used = {(target.split(".")[0], line) for target, line in imports(path)}
    wrong = [f"{path}:{line}: must not know {library}" for library, line in used if library in BORDERS and not may_touch(module, library)]
    assert not wrong, "\n".join(wrong)


def test_the_import_rules_can_fail() -> None:
    """A rule that lets everything pass guards nothing."""
    assert not may_import("harvester.oai", "db.tables")
    assert not may_import("db.engine", "harvester.sources")
    assert not may_import("flows.sync.ledger", "flows.harvest.store")
    assert not may_import("flows.harvest.store", "flows.cli")
    assert may_import("flows.sync.ledger", "flows.catalog.model")
    assert may_import("flows.cli", "flows.harvest.store")
    assert not may_touch("flows.harvest.store", "prefect")
    assert not may_touch("flows.harvest.store", "httpx")
    assert not may_touch("harvester.engine", "sqlalchemy")
    assert may_touch("flows.harvest.desk.store", "sqlalchemy")


@pytest.mark.parametrize(("module", "path"), ALL, ids=[module for module, _ in ALL])
def test_every_module_and_public_thing_says_what_it_is(module: str, path: Path) -> None:
    if "migrations" in module:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    silent = [
        f"{path}:{node.lineno}: {node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize(("module", "path"), ALL, ids=[module for module, _ in ALL])
def test_a_module_has_one_noun(module: str, path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST, f"{path} has {lines} lines; is there a second noun in it?"


def tracked() -> list[Path]:
    """The files that git tracks, or would: nothing of the virtual environment."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def test_no_index_address_and_no_path_of_a_machine_stands_in_the_tree() -> None:
    address = re.compile(r"--(?:extra-)?index-url|--find-links|files\.pythonhosted|pypi\.org/simple")
    place = re.compile(r"/(?:wor[k]|far[m]|roo[t])/")
    wrong = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path != Path(__file__) and ((address.search(text) and path.suffix in {".txt", ".toml", ".lock", ".cfg"}) or place.search(text)):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong


def test_packages_that_are_installed_are_those_that_exist() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    found = {module for module, path in ALL if path.name == "__init__.py"}
    assert listed == found
