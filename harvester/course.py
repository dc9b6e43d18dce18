"""The course of a pass, as values: which windows are still to be harvested, and where in the first one we are.

A ``Course`` is stored with every page, in the same transaction as its records; after a crash the pass goes on from
there. It holds no secret and no payload. ``dump`` and ``load`` turn it into JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

RECENT: Final = 64  # pages: the longest loop of pages that the loop guard sees


class WindowKind(StrEnum):
    """What a window is for."""

    DELTA = "delta"  # what changed since the watermark
    FULL = "full"  # everything; what is seen is noted
    SWEEP = "sweep"  # every identifier, to find what has vanished
    REPAIR = "repair"  # a window that failed before


class Method(StrEnum):
    """How a window is fetched."""

    RECORDS = "records"  # ListRecords
    PROBE = "probe"  # ListIdentifiers, to learn whether the repository works and how large the window is
    IDENTIFIERS = "identifiers"  # ListIdentifiers, and GetRecord for each


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A span of datestamps, both ends inclusive, and the position in its list.

    ``since`` None is the beginning, ``until`` None is open. ``sent`` is the token to be sent next, ``token_dies`` the
    moment of our clock at which it expires; ``recent`` are the digests of the last pages, for the loop guard;
    ``pending`` are identifiers still to be asked by GetRecord; ``repairs`` is the ledger's id of the failed window that
    this one is to replace. ``tries`` counts failures of the request that is due, ``lost`` those after which the token
    may be spent.
    """

    number: int
    kind: WindowKind
    since: datetime | None = None
    until: datetime | None = None
    method: Method = Method.RECORDS
    depth: int = 0
    restarts: int = 0
    repairs: int | None = None
    set_index: int = 0
    token: str | None = None
    token_dies: float | None = None
    received: int = 0
    size: int | None = None
    empty_pages: int = 0
    recent: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    tries: int = 0
    lost: int = 0
    attempts: int = 1

    @property
    def bulk(self) -> bool:
        """Whether it may be long: the schedule favours sources whose windows are short."""
        return self.kind is not WindowKind.DELTA or self.since is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A window that failed before and lies behind the watermark. ``run`` is its id in the ledger."""

    run: int
    since: datetime | None
    until: datetime | None
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileMark:
    """A file of a folder as it was seen last. ``digest`` is set when all its records are stored; ``mtime`` is in seconds.

    ``part``: it belongs to a full delivery from which nothing was concluded yet.
    """

    name: str
    size: int
    mtime: float
    digest: str | None = None
    part: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """An unfinished pass.

    ``started`` is the repository's own time at the start (the next watermark); None until Identify has answered.
    ``seconds`` tells the granularity. ``watermark`` is the stored one, ``since`` the one to start from
    (None: a full pass). ``windows`` are what is left, the current one first. ``full`` passes and sweeps may compare
    what they saw with the store unless ``blind``: a window failed, or a record came whose identifier nobody could read.
    ``blind_probes`` counts probes of windows that no answer came to. ``outside`` counts records that were not asked for,
    ``announced`` is the completeListSize of an undivided full pass. ``files`` are those of a folder, for sources that are
    one; such a course is kept when its pass is over, and is then ``closed``.
    """

    id: str
    full: bool
    sweep: bool
    watermark: datetime | None = None
    since: datetime | None = None
    gaps: tuple[Gap, ...] = ()
    started: datetime | None = None
    seconds: bool = True
    earliest: datetime | None = None
    windows: tuple[Window, ...] = ()
    numbered: int = 0
    splits: int = 0
    coarse: bool = False
    blind: bool = False
    failed: int = 0
    strikes: int = 0
    setbacks: int = 0
    blind_probes: int = 0
    tries: int = 0
    outside: int = 0
    announced: int | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    files: tuple[FileMark, ...] = ()
    closed: bool = False

    @property
    def window(self) -> Window:
        """The current window."""
        return self.windows[0]

    @property
    def bulk(self) -> bool:
        """Whether the schedule should let deltas of other sources go first."""
        return self.windows[0].bulk if self.windows else self.full or self.since is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What is known of a source between two pages and two engines: the store's row, without the records.

    Moments of scheduling are seconds since the epoch. ``epoch`` grows when a command changes the course from outside.
    """

    course: Course | None = None
    watermark: datetime | None = None
    full_due: bool = False
    gaps: tuple[Gap, ...] = ()
    due_at: float = 0.0
    since_pause: int = 0
    paused_until: float | None = None
    waiting_until: float | None = None
    attempt: int = 0
    blocked: str | None = None
    failures_in_a_row: int = 0
    last_success: float | None = None
    last_full: float | None = None
    last_sweep: float | None = None
    live: int = 0
    error: str | None = None
    epoch: int = 0


@cache
def _adapter() -> TypeAdapter[Course]:
    return TypeAdapter(Course)


def dump(course: Course) -> dict[str, Any]:
    """The course as JSON types."""
    document: dict[str, Any] = _adapter().dump_python(course, mode="json", exclude_defaults=True)
    return document


def load(document: object) -> Course | None:
    """The course, or None when another version of this program wrote it: the pass then begins anew, which loses nothing."""
    try:
        return _adapter().validate_python(document) if document is not None else None
    except ValidationError:
        return None
