"""What all measures share: rows of results, medians, child processes, a throw-away database, the written table."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
from sqlalchemy import text
from sqlalchemy.engine import Engine

from db.embedded import Embedded
from db.engine import connect, upgrade

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "bench"
QUIET: Final = 0.3  # cores that other programs may use before the figures count as disturbed
LONGEST: Final = 1800.0  # seconds that one contender may take
EMPTY: Final = (
    "TRUNCATE harvest.source, harvest.run, harvest.page, harvest.record, harvest.failure, harvest.deletion, harvest.seen RESTART IDENTITY"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the results.

    ``peer`` names what ``value`` is compared with, ``ratio`` is value / peer_value. ``bound`` is what the specification
    promises, as ``value >= 6000`` or ``ratio <= 1.03``; empty where it promises nothing.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    bound: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None where there is none."""
        found = re.fullmatch(r"(value|ratio) (>=|<=|==) ([\d.]+)", self.bound)
        if found is None:
            return None
        measured = self.value if found[1] == "value" else self.ratio
        if measured is None:
            return False
        limit = float(found[3])
        return {">=": measured >= limit, "<=": measured <= limit, "==": measured == limit}[found[2]]


def compared(name: str, values: Sequence[float], unit: str, peer: str, peer_values: Sequence[float], bound: str) -> Row:
    """Medians of both, and the median of the ratios of each round.

    Rounds are interleaved, which evens out a slow drift of the machine. It does not make a busy machine harmless: who
    keeps more processes runnable gets the larger share of contended cores, and that is Windrow. See ``Strangers``.
    """
    ratios = [value / other for value, other in zip(values, peer_values, strict=True)]
    return Row(
        name=name,
        value=rounded(statistics.median(values)),
        unit=unit,
        peer=peer,
        peer_value=rounded(statistics.median(peer_values)),
        ratio=rounded(statistics.median(ratios)),
        bound=bound,
    )


def rounded(value: float) -> float:
    """Four significant digits, and every digit of whole numbers."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.4g}")


class Strangers:
    """Processor time that other programs used meanwhile: with it, comparisons of wall-clock time mean nothing.

    All of the machine's busy time, less that of this process, its children and PostgreSQL, with their ended children.
    """

    def __init__(self, postmaster: int) -> None:
        self._roots = (os.getpid(), postmaster)
        self._began, self._busy, self._own = time.monotonic(), busy(), self._ours()

    def cores(self) -> float:
        """How many cores they kept busy, on average since the beginning."""
        used = busy() - self._busy - (self._ours() - self._own)
        return max(0.0, used / max(time.monotonic() - self._began, 1e-9))

    def _ours(self) -> float:
        total = 0.0
        for root in self._roots:
            process = psutil.Process(root)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += sum(each.cpu_times()[:4])  # user, system, and those of children that have ended
        return total


def busy() -> float:
    """Seconds that all cores together have worked since the machine was started."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where a run of the measures takes place. ``rounds`` of each; ``quick``: fewer and smaller."""

    url: str
    postmaster: int
    database: Engine
    quick: bool
    rounds: int
    say: Callable[[str], None]

    def empty(self) -> None:
        """No source, no record, nothing to vacuum, and nothing left to write to disk from the round before."""
        with self.database.begin() as connection:
            connection.execute(text(EMPTY))
        with self.database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))

    def contend(self, kind: str, task: Mapping[str, Any]) -> dict[str, Any]:
        """One contender in a process of its own; what it says of itself. RuntimeError when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.contender", kind],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=LONGEST,
            check=False,
            env={**os.environ, "WINDROW_DATABASE_URL": self.url, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            raise RuntimeError(f"{kind} failed: {done.stderr.strip()[-2000:]}")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


@contextmanager
def bench(*, quick: bool, say: Callable[[str], None]) -> Iterator[Bench]:
    """An embedded server with the settings of the product, in a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))
    folder.chmod(0o755)
    server = Embedded(home=folder / "home")
    try:
        state = server.start()
        database = connect(server.url(), pool_size=2, application_name="windrow-bench")
        upgrade(database)
        yield Bench(url=server.url(), postmaster=state.pid or 0, database=database, quick=quick, rounds=1 if quick else 3, say=say)
        database.dispose()
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def configuration(urls: Mapping[str, str], groups: Mapping[str, int], of: Mapping[str, str] | None = None, **source: Any) -> dict[str, Any]:
    """A configuration as a contender reads it. ``of`` says which group a source is in; the first by default."""
    first = next(iter(groups))
    return {
        "groups": dict(groups),
        "sources": {name: {"url": url, "group": (of or {}).get(name, first), **source} for name, url in urls.items()},
    }


def machine(database: Engine) -> dict[str, Any]:
    """What the figures were measured on; nothing that names the machine."""
    with database.connect() as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
        fsync = connection.execute(text("SHOW fsync")).scalar_one()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "postgresql": f"{version.split()[0]} (embedded, fsync {fsync})",
        "system": f"{platform.system()} {platform.machine()}",
    }


def write(
    rows: Sequence[Row], about: Mapping[str, Any], *, quick: bool, seconds: float, strangers: float = 0.0, folder: Path = RESULTS
) -> None:
    """``results.json`` and ``results.md``."""
    (folder / "results.json").write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(table(rows, about, quick=quick, seconds=seconds, strangers=strangers), encoding="utf-8")


def table(rows: Iterable[Row], about: Mapping[str, Any], *, quick: bool, seconds: float, strangers: float = 0.0) -> str:
    """The results as a page in Markdown. ``strangers``: cores that other programs used; too many, and it says so."""
    disturbed = strangers > QUIET
    lines = [
        "# Measures",
        "",
        f"`make bench{'-quick' if quick else ''}`, {about['date']}, {seconds:.0f} s: {about['cores']} cores, {about['memory_gb']} GB,"
        f" {about['system']}, Python {about['python']}, PostgreSQL {about['postgresql']}. The servers, PostgreSQL and the harvester share"
        f" the machine.",
        "",
        *(["The quick form: one round of smaller tasks, for a first impression; the promises are measured by `make bench`.", ""] * quick),
        *(
            [
                f"**Disturbed**: other programs kept {strangers:.2f} cores busy meanwhile. Figures in themselves are too low; ratios,"
                " which are measured in turns, scatter.",
                "",
            ]
            * disturbed
        ),
        "| measure | value | unit | compared with | its value | ratio | bound | met |",
        "|---|---:|---|---|---:|---:|---|---|",
    ]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        other, ratio = shown(row.peer_value), shown(row.ratio)
        lines.append(f"| {row.name} | {shown(row.value)} | {row.unit} | {row.peer} | {other} | {ratio} | {row.bound} | {met} |")
    return "\n".join(lines) + "\n"


def shown(value: float | None) -> str:
    """A number as a person reads it."""
    return "" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def until(condition: Callable[[], bool], *, seconds: float, every: float = 0.05) -> bool:
    """Wait for something; False when it does not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every)
    return False
