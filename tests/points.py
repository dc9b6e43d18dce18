"""The numbered points of the specifications and the tests that name them in their docstrings.

`python -m tests.points` prints the table; `--write` puts it into docs/developers.md.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "developers.md"
MARK = "<!-- points: written by `python -m tests.points --write`, held by tests/test_points.py -->"
MENTION = re.compile(r"\b(harvest|catalog|sync|authority|patrons|operations|proof) (\d+(?:\s*(?:,|and|-|to)\s*\d+)*)")
PROMISES = {
    "harvest": {
        1: "the unit of work is one page; a slot is held only while a request is in flight",
        2: "a free slot takes a ready source at random; deltas are not starved",
        3: "every source has its own state and due time; one table of transitions",
        4: "pauses past a record threshold, fixed or for the vacuum; stored",
        5: "groups and limits; the environment wins; an overall limit",
        6: "requests per minute and blackout hours",
        7: "the configuration is followed while it runs",
        8: "a group is owned by one engine",
        9: "a thousand sources cost no task while they are not in flight",
        10: "Identify first; tombstones, sweep or full passes",
        11: "windows, watermark by the repository's clock, ledger, coverage",
        12: "where a list ends, and where it only seems to",
        13: "OAI errors whatever the HTTP status",
        14: "expired tokens: again, then in halves",
        15: "retries, Retry-After, single-use tokens, circuit breaker",
        16: "time limits",
        17: "compression, size cap, no entities, redirects without credentials",
        18: "one bad record costs only itself",
        19: "what a deletion is, and what not",
        20: "sets, prefixes, headers, authentication; secrets by reference",
        21: "a page and its cursor in one transaction",
        22: "storage by COPY and merge; unchanged records leave no dead tuple",
        23: "suspiciously many deletions are held",
        24: "a row for each window, a pruned log of pages",
        25: "windrow harvest",
        26: "windrow sources",
        27: "windrow status, explain, pause, resume, rewind, reset, fetch",
        28: "windrow simulate",
    },
    "catalog": {
        1: "one immutable canonical record with canonical JSON and a stable digest",
        2: "readers for MARCXML, ISO 2709 with MARC-8, MARC-in-JSON and BIBFRAME",
        3: "BIBFRAME: one record per instance, with its work and items",
        4: "folders, SFTP drops and REST endpoints as sources",
        5: "table-driven MARC 21 validation",
        6: "policies by configuration, tried before they are switched on",
        7: "errors to quarantine, warnings kept as findings",
        8: "an anomaly gate for each source",
        9: "quality figures by rule and source, over time",
        10: "re-validation of everything that is stored",
        11: "an allow-list between gate and store",
        12: "patron identifiers in values are dropped or tokenised",
        13: "nothing unscrubbed downstream of the harvest",
        14: "purge",
    },
}


def mentions() -> dict[tuple[str, int], list[str]]:
    """For each point, the tests whose docstrings name it: `path::test`, sorted."""
    found: dict[tuple[str, int], list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            for name, numbers in MENTION.findall(ast.get_docstring(node) or ""):
                for low, high in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", numbers):
                    for number in range(int(low), int(high or low) + 1):
                        found.setdefault((name, number), []).append(f"{path.relative_to(ROOT)}::{node.name}")
    return {key: sorted(set(tests)) for key, tests in found.items()}


def table() -> str:
    """The promises as Markdown, each with its first tests."""
    named = mentions()
    lines: list[str] = []
    for name, promises in PROMISES.items():
        lines += [f"### {name}", "", "| | point | promise | tests that name it |", "|---|---|---|---|"]
        for number, promise in promises.items():
            tests = named.get((name, number), [])
            shown = "<br>".join(f"`{test}`" for test in tests[:3]) + (f"<br>and {len(tests) - 3} more" if len(tests) > 3 else "")
            lines.append(f"| {'✓' if tests else '✗'} | {number} | {promise} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it into the page."""
    if "--write" not in sys.argv[1:]:
        sys.stdout.write(table() + "\n")
        return
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(MARK)] + MARK + "\n\n" + table(), encoding="utf-8")


if __name__ == "__main__":
    main()
