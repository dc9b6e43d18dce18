"""Asking repositories what they are, without harvesting them: for ``sources check --live`` and ``sources add``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import anyio

from harvester import answers, oai
from harvester.blackouts import free_from
from harvester.client import Transport
from harvester.errors import HarvestError, NoRecordsMatch, NoSetHierarchy
from harvester.sources import Configuration, Deletions, Source

NO_DELETIONS: Final = "the repository keeps no deletions (deletedRecord is no): add deletions: sweep, or full"
SET_PAGES: Final = 20  # pages of ListSets that are read; some repositories have a set for each of thousands of authors


@dataclass(kw_only=True, slots=True)
class Probe:
    """What a repository answered. A part that it did not answer is None or empty, and `problems` say why."""

    source: Source
    identity: oai.Identity | None = None
    formats: tuple[oai.Format, ...] = ()
    sets: tuple[oai.Set, ...] = ()
    sets_complete: bool = False
    page_size: int | None = None
    complete_list_size: int | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    resting_until: datetime | None = None

    @property
    def prefix_exists(self) -> bool | None:
        """Does the repository offer the configured prefix? None when it did not say what it offers."""
        return any(each.prefix == self.source.metadata_prefix for each in self.formats) if self.formats else None

    @property
    def missing_prefix(self) -> str:
        """The problem that the configured prefix is not offered."""
        offered = ", ".join(sorted(each.prefix for each in self.formats))
        return f"the repository does not offer {self.source.metadata_prefix}; it offers {offered}"

    def shown(self) -> dict[str, object]:
        """For JSON."""
        known = self.identity
        return {
            "source": self.source.name,
            "group": self.source.group,
            "url": self.source.url,
            "repository": known.repository_name if known else None,
            "protocol_version": known.protocol_version if known else None,
            "granularity": known.granularity if known else None,
            "deleted_record": known.deleted_record if known else None,
            "earliest": known.earliest if known else None,
            "metadata_prefix": self.source.metadata_prefix,
            "prefix_exists": self.prefix_exists,
            "formats": [each.prefix for each in self.formats],
            "page_size": self.page_size,
            "complete_list_size": self.complete_list_size,
            "milliseconds": {verb: round(duration, 1) for verb, duration in self.milliseconds.items()},
            "resting_until": self.resting_until.isoformat() if self.resting_until else None,
            "problems": self.problems,
            "warnings": self.warnings,
        }


async def ask(transport: Transport, probe: Probe, request: oai.Request, *, timeout: float) -> oai.Page | None:  # noqa: ASYNC109  (of one exchange, the transport's own)
    """The page that answers `request`; None when there is none, and `probe` says why. An empty list is an empty page."""
    try:
        reply = await transport.fetch(probe.source, request, timeout=timeout)
        probe.milliseconds[request.verb] = probe.milliseconds.get(request.verb, 0.0) + reply.seconds * 1000
        return answers.read(reply, request, now=time.time(), repair=probe.source.repair)
    except (NoRecordsMatch, NoSetHierarchy):
        return oai.Page(verb=request.verb, response_date=None)
    except HarvestError as error:
        probe.problems.append(f"{request.verb}: {error}")
        return None


async def introduce(transport: Transport, probe: Probe) -> None:
    """Identify and ListMetadataFormats."""
    page = await ask(transport, probe, oai.Request(verb="Identify"), timeout=probe.source.page_timeout)
    if page is None:
        return
    probe.identity = page.identity
    page = await ask(transport, probe, oai.Request(verb="ListMetadataFormats"), timeout=probe.source.page_timeout)
    probe.formats = page.formats if page else ()
    _judge(probe)


async def first_page(transport: Transport, probe: Probe) -> None:
    """The first page of records, as a first harvest would ask for it."""
    source = probe.source
    arguments = [("metadataPrefix", source.metadata_prefix)]
    arguments += [("set", spec) for spec in source.sets[:1]]
    if source.start is not None:
        by_second = source.granularity == "second" or (source.granularity is None and probe.identity is not None and probe.identity.seconds)
        arguments.append(("from", oai.format_moment(source.start, seconds=by_second)))
    request = oai.Request(verb="ListRecords", arguments=tuple(arguments))
    page = await ask(transport, probe, request, timeout=source.first_page_timeout)
    if page is None:
        return
    probe.page_size = len(page.records) + len(page.damaged)
    probe.complete_list_size = page.complete_list_size
    if page.damaged:
        probe.warnings.append(f"{len(page.damaged)} records of the first page cannot be read: {page.damaged[0].reason}")
    if not probe.page_size:
        probe.warnings.append("the list is empty")


async def list_sets(transport: Transport, probe: Probe) -> None:
    """The sets of the repository, as far as `SET_PAGES` pages go."""
    found: list[oai.Set] = []
    request = oai.Request(verb="ListSets")
    for _ in range(SET_PAGES):
        page = await ask(transport, probe, request, timeout=probe.source.page_timeout)
        if page is None:
            probe.warnings.append(probe.problems.pop())  # harvesting everything needs no list of sets
            return
        found += page.sets
        probe.sets = tuple(found)
        if page.token is None:
            probe.sets_complete = True
            return
        request = oai.Request(verb="ListSets", arguments=(("resumptionToken", page.token.value),))


async def check(
    transport: Transport, configuration: Configuration, sources: Iterable[Source], *, done: Callable[[Probe], None] = lambda _: None
) -> list[Probe]:
    """What all `sources` answer, asked at once within the limits of their groups and the overall limit.

    A source in its blackout hours is not asked. `done` is told each result as it comes; they are returned in the order
    of the sources.
    """
    probes = [Probe(source=source) for source in sources]
    overall = anyio.CapacityLimiter(configuration.total_limit)
    groups = {name: anyio.CapacityLimiter(group.limit) for name, group in configuration.groups.items()}

    async def one(probe: Probe) -> None:
        group = configuration.groups[probe.source.group]
        async with AsyncExitStack() as slots:
            await slots.enter_async_context(groups[group.name])
            await slots.enter_async_context(overall)
            now = datetime.now(UTC)
            free = free_from((*probe.source.blackouts, *group.blackouts), now)
            if free > now:
                probe.resting_until = free
                probe.warnings.append(f"not asked: blackout hours until {free:%Y-%m-%d %H:%M} UTC")
            else:
                await introduce(transport, probe)
                if probe.identity is not None and probe.prefix_exists is not False:
                    await first_page(transport, probe)
        done(probe)

    async with anyio.create_task_group() as tasks:
        for probe in probes:
            tasks.start_soon(one, probe)
    return probes


def _judge(probe: Probe) -> None:
    """Notes what an operator should know about the answers."""
    source, known = probe.source, probe.identity
    if probe.prefix_exists is False:
        probe.problems.append(probe.missing_prefix)
    if known is None:
        return
    if known.protocol_version != "2.0":
        probe.warnings.append(f"the repository speaks version {known.protocol_version or 'nothing'} of the protocol, not 2.0")
    if known.deleted_record == "no" and source.deletions is Deletions.TOMBSTONES:
        probe.warnings.append(NO_DELETIONS)
