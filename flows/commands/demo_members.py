"""The libraries of the demonstration: what their stand-in servers hold and how they behave, and the ``sources.yaml`` that lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Final

HOSTED: Final = "hosted-folio"
LIMITS: Final[Mapping[str, int]] = {HOSTED: 2, "university": 4, "public": 3, "special": 1}
SHARES: Final[Mapping[str, int]] = {HOSTED: 60, "university": 15, "public": 15, "special": 10}  # per cent of the members
SIZES: Final = (0.5, 0.75, 1.0, 1.0, 1.25, 1.5)  # times the usual number of records
FEWEST: Final = 10  # members: each group has its habits to show
FEWEST_RECORDS: Final = 20  # of a member: enough to change some, delete some and spoil one
TOMBSTONES: Final = 0.04  # share of a member's records that are deleted at the start

# What servers are like; each group gives its habits to its members in turn.
HABITS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    HOSTED: ({"latency": 0.010},),
    "university": (
        {"latency": 0.005},
        {"latency": 0.005, "gzip": "always"},
        {"latency": 0.010, "namespace": "prefixed", "payload": "prefixed"},
        {"latency": 0.005, "token": "single-use"},
    ),
    "public": (
        {"latency": 0.010, "granularity": "YYYY-MM-DD"},
        {"latency": 0.005, "sets": ["books", "maps"]},
        {"latency": 0.150},
        {"latency": 0.010, "token": "constant", "complete_list_size": False},
    ),
    "special": (
        {"latency": 0.005, "end_style": "empty_page_then_end"},
        {"latency": 0.010, "gzip": "unlabelled", "namespace": "none"},
        {"latency": 0.005, "payload": "inherited", "clock_offset": 90},
    ),
}
NAMES: Final[Mapping[str, str]] = {HOSTED: "tenant", "university": "university", "public": "public", "special": "special"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A library: its server and its entry in ``sources.yaml``.

    ``repository`` and ``faults`` are as in a specification of the stand-in consortium; ``repository`` is empty for a host
    that is dead. ``fails`` says why it is meant to fail, None when it is not; ``unreadable`` how many of its records are bad.
    """

    name: str
    group: str
    repository: Mapping[str, Any]
    entry: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    fails: str | None = None
    unreadable: int = 0

    @property
    def records(self) -> int:
        """Records on its server at the start, tombstones included, that a harvest is expected to get to see."""
        return 0 if self.fails else int(self.repository["records"])


def members(count: int, records: int) -> list[Member]:
    """``count`` members (at least ten) of about ``records`` records each; two of them fail, two have a record that cannot be read."""
    found = [member for group in LIMITS for member in _group(group, count, records)]
    last = {member.group: place for place, member in enumerate(found)}
    first = {member.group: place for place, member in reversed(list(enumerate(found)))}
    for place, change in (
        (last["public"], _dead),
        (last["special"], _closed),
        (first[HOSTED], _spoilt),
        (first["university"], _spoilt),
    ):
        found[place] = change(found[place])
    return found


def _group(group: str, count: int, records: int) -> Iterator[Member]:
    others = sum(round(count * share / 100) for name, share in SHARES.items() if name != HOSTED)
    size = count - others if group == HOSTED else round(count * SHARES[group] / 100)
    habits = islice(cycle(zip(cycle(HABITS[group]), SIZES * len(HABITS[group]), strict=False)), size)
    for number, (habit, factor) in enumerate(habits, start=1):
        name = f"{NAMES[group]}-{number:02d}"
        repository = {
            "name": name,
            "group": group,
            "records": max(FEWEST_RECORDS, round(records * factor)),
            "page_size": 100,
            "deleted_share": TOMBSTONES,
            **habit,
        }
        entry = {"sets": habit["sets"]} if "sets" in habit else {}
        if number == 2:
            entry |= {"pause_after_records": records // 2, "pause_seconds": 2}
        yield Member(name=name, group=group, repository=repository, entry=entry)


def _dead(member: Member) -> Member:
    return Member(name=member.name, group=member.group, repository={}, entry={"attempts": 2}, fails="its host is dead")


def _closed(member: Member) -> Member:
    return Member(
        name=member.name,
        group=member.group,
        repository=member.repository,
        entry={"attempts": 2},
        faults=({"name": member.name, "kind": "html"},),
        fails="it answers every request with a login page",
    )


def _spoilt(member: Member) -> Member:
    repository = {**member.repository, "deleted_share": 0.0}  # so that the spoilt record is a live one
    fault = {"name": member.name, "kind": "malformed-record", "number": repository["records"] // 2}
    return Member(name=member.name, group=member.group, repository=repository, entry=member.entry, faults=(fault,), unreadable=1)


def sources_file(listed: Sequence[Member], urls: Mapping[str, str]) -> str:
    """The text of ``sources.yaml``, as somebody would write it by hand."""
    lines = ["groups:"]
    lines += [f"  {group}: {{limit: {limit}}}" for group, limit in LIMITS.items()]
    lines += ["defaults: {metadata_prefix: marc21}", "sources:"]
    for member in listed:
        lines += [f"  {member.name}:", f"    url: {urls[member.name]}", f"    group: {member.group}"]
        for key, value in member.entry.items():
            lines.append(f"    {key}: {'[' + ', '.join(value) + ']' if isinstance(value, list) else value}")
    return "\n".join(lines) + "\n"
