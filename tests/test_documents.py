"""Every command and every environment variable stands in the operators' page, and nothing stands there that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from flows.cli import app
from harvester.settings import variables

ROOT = Path(__file__).parent.parent
OPERATORS = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
EVERYTHING = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))


def commands() -> dict[str, set[str]]:
    """The commands, each with its subcommands."""
    found: dict[str, set[str]] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found[name] = set(getattr(command, "commands", {}))
    return found


def test_every_command_stands_in_the_operators_page() -> None:
    missing = [name for name in commands() if f"`windrow {name}" not in OPERATORS]
    missing += [
        f"{name} {sub}"
        for name, subs in commands().items()
        for sub in subs
        if f"`{sub}`" not in OPERATORS and f"{name} {sub}" not in OPERATORS
    ]
    assert not missing


def test_every_command_that_the_documents_name_exists() -> None:
    known = commands()
    wrong = []
    for name, sub in re.findall(r"(?:^|[`\n]|\.venv/bin/)windrow ([a-z]+)(?: ([a-z]+))?", EVERYTHING):
        if name not in known or (known[name] and sub and sub not in known[name]):
            wrong.append(f"windrow {name} {sub}".strip())
    assert not wrong


def test_every_variable_stands_in_the_operators_page_and_the_other_way_round() -> None:
    known = {variable.name for variable in variables()}
    assert not {name for name in known if f"`{name}`" not in OPERATORS}
    named = set(re.findall(r"`(WINDROW_[A-Z_<>]+)`", OPERATORS))
    assert not {name for name in named if name not in known and not re.fullmatch(r"WINDROW_GROUP_[A-Z_]+_LIMIT", name)}
