"""The keys of ``sources.yaml``: one table each for sources, groups and blackout hours.

What is read, what the JSON Schema says and what the documentation lists all come from these tables. A key of a source
has the name of the field of `harvester.sources.Source` that it fills, and that field holds its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import time
from functools import cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from harvester.blackouts import DAYS, EVERY_DAY, Blackout
from harvester.document import Place, Wrong
from harvester.feedkeys import feeds, locations
from harvester.forms import (
    NAME_ALLOWED,
    NAME_PATTERN,
    PREFIX_PATTERN,
    Form,
    choices,
    flags,
    lengths_of_time,
    lists,
    moments,
    optional,
    parameters,
    public_or_secret,
    secrets,
    shares,
    sizes,
    stated,
    usable,
    whole_numbers,
    words,
)
from harvester.problems import meant, one_of, shortened
from harvester.sources import Deletions, EndOfList, Kind, PauseMode, Source, TokenRetry

DAY_PATTERN: Final = r"^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?$"
DAYS_ALLOWED: Final = "allowed: days and spans of days, such as [mon-fri] or [sat, sun]"
TIME_PATTERN: Final = r"^(([01]?\d|2[0-3]):[0-5]\d|24:00)$"
TIME_ALLOWED: Final = "allowed: hours and minutes from 00:00 to 24:00"
BLACKOUT_ALLOWED: Final = "allowed: start, end and zone, such as {start: 08:00, end: 18:00, zone: Europe/Stockholm, days: [mon-fri]}"
SETS_ALLOWED: Final = "allowed: a list of setSpecs, such as [theses, maps]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key of the file."""

    name: str
    """As it is written; also the field it fills."""
    form: Form
    """How its value is read."""
    meaning: str
    """For the documentation and for editors."""


def _object(keys: tuple[Key, ...], *, needed: tuple[str, ...] = ()) -> dict[str, Any]:
    properties = {key.name: {"description": key.meaning, **key.form.schema} for key in keys}
    found: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(needed)} if needed else found


def _days() -> Form:
    def span(place: Place) -> frozenset[int]:
        text = place.text(DAYS_ALLOWED).strip().lower()
        if not re.fullmatch(DAY_PATTERN, text, re.ASCII):
            raise Wrong(f"{shortened(text)} is not a day", DAYS_ALLOWED)
        first, _, last = text.partition("-")
        start, end = DAYS.index(first), DAYS.index(last or first)
        return frozenset((start + step) % 7 for step in range((end - start) % 7 + 1))

    several = lists(Form(read=span, schema={"type": "string", "pattern": DAY_PATTERN}), allowed=DAYS_ALLOWED)

    def read(place: Place) -> frozenset[int]:
        days: frozenset[int] = frozenset[int]().union(*several.read(place)) if place.is_list else span(place)
        if place.is_list and not place.raw.value:
            raise Wrong("no day is listed", DAYS_ALLOWED)
        return days

    return Form(read=read, schema={"anyOf": [{"type": "string", "pattern": DAY_PATTERN}, several.schema]})


def _times() -> Form:
    def read(place: Place) -> tuple[int, int]:
        text = place.text(TIME_ALLOWED)
        if not re.fullmatch(TIME_PATTERN, text, re.ASCII):
            raise Wrong(f"{shortened(text)} is not a time of day", TIME_ALLOWED)
        hours, _, minutes = text.partition(":")
        return int(hours), int(minutes)

    return Form(read=read, schema={"type": "string", "pattern": TIME_PATTERN})


@cache
def _known_zones() -> frozenset[str]:
    """Every name of the time zone database, which is read from many small files."""
    return frozenset(available_timezones())


def _zones() -> Form:
    allowed = "allowed: a name of the time zone database, such as Europe/Stockholm or UTC"

    def read(place: Place) -> ZoneInfo:
        text = place.text(allowed)
        known = _known_zones()
        if text not in known:
            close = meant(text, known)
            raise Wrong(f"{shortened(text)} is not a time zone", f"did you mean {close}? {allowed}" if close else allowed)
        return ZoneInfo(text)

    return Form(read=read, schema={"type": "string", "minLength": 1})


BLACKOUT_KEYS: Final = (
    Key(name="days", form=_days(), meaning="The days on which it begins; every day when it is left out."),
    Key(name="start", form=_times(), meaning="The first minute in which no request starts."),
    Key(name="end", form=_times(), meaning="The first minute in which requests start again; before `start` it is on the next day."),
    Key(name="zone", form=_zones(), meaning="The time zone of the clock that `start` and `end` are read from."),
)


def _blackouts() -> Form:
    known = {key.name: key.form for key in BLACKOUT_KEYS}

    def one(place: Place) -> Blackout | None:
        written = stated(place, known, BLACKOUT_ALLOWED)
        missing = [name for name in ("start", "end", "zone") if name not in written]
        if missing:
            raise Wrong(f"{' and '.join(missing)} missing", BLACKOUT_ALLOWED)
        values = usable(written)
        if not values.keys() >= {"start", "end", "zone"}:
            return None  # what is wrong has been reported
        (start, start_minute), (end, end_minute) = values["start"], values["end"]
        if start == 24:
            raise Wrong("a blackout cannot start at 24:00", "write 00:00 and the day after")
        if (start, start_minute) == (end, end_minute):
            raise Wrong("it starts and ends at the same time", "for the whole day write start: 00:00, end: 24:00")
        return Blackout(
            days=values.get("days", EVERY_DAY), start=time(start, start_minute), end=time(end % 24, end_minute), zone=values["zone"]
        )

    schema = _object(BLACKOUT_KEYS, needed=("start", "end", "zone"))
    return lists(Form(read=one, schema=schema), allowed=f"allowed: a list; {BLACKOUT_ALLOWED.removeprefix('allowed: ')}")


def _granularities() -> Form:
    names: tuple[Literal["day", "second"], ...] = ("day", "second")

    def read(place: Place) -> Literal["day", "second"]:
        text = place.text(one_of(names))
        for each in names:
            if text == each:
                return each
        raise Wrong(f"{shortened(text)} is not known", one_of(names, written=text))

    return Form(read=read, schema={"enum": list(names)})


SHORTEST_WINDOW: Final = 60.0  # seconds: shorter ones would be more requests than records
RATE: Final = optional(whole_numbers(1))

SOURCE_KEYS: Final = (
    Key(
        name="url",
        form=locations(),
        meaning="The OAI-PMH base URL, without credentials and without a verb; of other kinds file:///folder, sftp://host/folder or the "
        "endpoint.",
    ),
    Key(name="group", form=words(NAME_PATTERN, NAME_ALLOWED), meaning="The group whose limits it shares; `default` when it says nothing."),
    Key(
        name="metadata_prefix",
        form=words(PREFIX_PATTERN, "allowed: a metadataPrefix of the repository: letters, digits and - _ . ! ~ * ' ( )"),
        meaning="The format to ask for.",
    ),
    Key(
        name="sets",
        form=lists(words(r"^[^\s,]+$", "allowed: a setSpec, without spaces or commas"), allowed=SETS_ALLOWED),
        meaning="The sets to harvest, one after the other; everything when it is left out.",
    ),
    Key(name="headers", form=parameters(of_headers=True), meaning="Extra request headers; secret values as env:NAME or prefect:NAME."),
    Key(
        name="query",
        form=parameters(of_headers=False),
        meaning="Extra query parameters, such as FOLIO's apikey; secret values as env:NAME or prefect:NAME.",
    ),
    Key(name="username", form=optional(public_or_secret()), meaning="For basic authentication, together with `password`."),
    Key(name="password", form=optional(secrets()), meaning="For basic authentication: env:NAME or prefect:NAME."),
    Key(name="bearer_token", form=optional(secrets()), meaning="For bearer authentication: env:NAME or prefect:NAME."),
    Key(name="enabled", form=flags(), meaning="false keeps the source in the file without harvesting it."),
    Key(
        name="kind",
        form=choices(Kind),
        meaning="What the records are; files, sftp and rest are bibliographic records that do not come by OAI-PMH.",
    ),
    Key(name="feed", form=feeds(), meaning="How files or pages are found and read, with kind: files, sftp or rest."),
    Key(name="interval", form=lengths_of_time(), meaning="From one pass to the next."),
    Key(name="overlap", form=lengths_of_time(nought=True), meaning="How far before the watermark a window starts."),
    Key(name="granularity", form=optional(_granularities()), meaning="Overrides the granularity that Identify declares."),
    Key(name="start", form=optional(moments()), meaning="Nothing older than this is harvested."),
    Key(name="windows", form=optional(lengths_of_time(least=SHORTEST_WINDOW)), meaning="Cuts a long history into windows of this length."),
    Key(
        name="deletions",
        form=choices(Deletions),
        meaning="How deleted records are found: tombstones in the list, a sweep for vanished ones, or a full pass.",
    ),
    Key(name="sweep_every", form=optional(lengths_of_time()), meaning="From one sweep to the next; 7d when `deletions` is sweep."),
    Key(
        name="full_every",
        form=optional(lengths_of_time()),
        meaning="From one full pass to the next, which finds backdated changes; 7d when `deletions` is full.",
    ),
    Key(name="token_retry", form=choices(TokenRetry), meaning="Whether a resumption token may be used again after a failure."),
    Key(name="end_of_list", form=choices(EndOfList), meaning="What noRecordsMatch means after a resumption token."),
    Key(name="repair", form=flags(), meaning="true replaces characters that XML forbids, instead of failing the record."),
    Key(name="connect_timeout", form=lengths_of_time(), meaning="How long a connection may take."),
    Key(name="first_page_timeout", form=lengths_of_time(), meaning="How long the first page of a window may take."),
    Key(name="page_timeout", form=lengths_of_time(), meaning="How long every later page may take."),
    Key(name="page_bytes_limit", form=sizes(), meaning="The largest page after decompression."),
    Key(name="attempts", form=whole_numbers(1), meaning="How often one page is tried."),
    Key(name="breaker_failures", form=whole_numbers(1), meaning="Failures in a row after which the source rests, ever longer."),
    Key(name="requests_per_minute", form=RATE, meaning="The most requests that start in a minute."),
    Key(name="blackouts", form=_blackouts(), meaning="Hours in which no request starts."),
    Key(name="pause_after_records", form=whole_numbers(0), meaning="The source pauses after more records than this; 0: never."),
    Key(name="pause_seconds", form=lengths_of_time(nought=True), meaning="How long a pause lasts."),
    Key(name="pause_mode", form=choices(PauseMode), meaning="What ends a pause: its time, or autovacuum having caught up."),
    Key(name="delete_hold_share", form=shares(), meaning="A run that deletes more than this share of the records waits for an operator."),
    Key(name="delete_hold_minimum", form=whole_numbers(0), meaning="Fewer deletions than this never wait."),
)

GROUP_KEYS: Final = (
    Key(name="limit", form=whole_numbers(1), meaning="The most requests in flight at any moment; WINDROW_GROUP_<NAME>_LIMIT wins."),
    Key(name="requests_per_minute", form=RATE, meaning="The most requests that start in a minute, over all sources of the group."),
    Key(name="blackouts", form=_blackouts(), meaning="Hours in which no request to any source of the group starts."),
)

BUILT_IN: Final[Mapping[str, Any]] = {
    each.name: each.default_factory() if each.default_factory is not MISSING else each.default
    for each in fields(Source)
    if each.default is not MISSING or each.default_factory is not MISSING
}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``sources.yaml``, so that editors complete it and explain each key."""
    name = {"pattern": NAME_PATTERN}
    defaults = tuple(key for key in SOURCE_KEYS if key.name != "url")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Windrow's sources.yaml",
        "description": "The OAI-PMH sources of a consortium, the groups whose limits they share, and what sources say by default.",
        "type": "object",
        "additionalProperties": False,
        "required": ["sources"],
        "properties": {
            "groups": {
                "description": "Sources that share limits, usually because they share a server.",
                "type": ["object", "null"],
                "propertyNames": name,
                "additionalProperties": {**_object(GROUP_KEYS), "type": ["object", "null"]},
            },
            "defaults": {**_object(defaults), "description": "What each source says unless it says otherwise.", "type": ["object", "null"]},
            "sources": {
                "description": "The sources by name.",
                "type": ["object", "null"],
                "propertyNames": name,
                "additionalProperties": _object(SOURCE_KEYS, needed=("url",)),
            },
        },
    }
