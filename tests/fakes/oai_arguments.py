"""The arguments of an OAI-PMH request: which verb takes which, and what a date may look like (sections 2.5, 2.7 and 3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tests.fakes.oai_repository import DAYS

# verb: required and optional arguments; a resumptionToken, where allowed, is exclusive.
ARGUMENTS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    "Identify": (frozenset(), frozenset()),
    "ListMetadataFormats": (frozenset(), frozenset({"identifier"})),
    "ListSets": (frozenset(), frozenset({"resumptionToken"})),
    "ListIdentifiers": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set", "resumptionToken"})),
    "ListRecords": (frozenset({"metadataPrefix"}), frozenset({"from", "until", "set", "resumptionToken"})),
    "GetRecord": (frozenset({"identifier", "metadataPrefix"}), frozenset()),
}


class ProtocolError(Exception):
    """An OAI-PMH error, to be written into the answer: `code` and a sentence. `status` overrides the repository's HTTP status."""

    def __init__(self, code: str, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


def check(asked: Sequence[tuple[str, str]]) -> str:
    """The verb of a request whose arguments are in order.

    Raises:
        ProtocolError: badVerb or badArgument.
    """
    names = [name for name, _ in asked]
    told = dict(asked)
    verb = told.get("verb")
    if verb is None or names.count("verb") > 1 or verb not in ARGUMENTS:
        raise ProtocolError("badVerb", f"The verb is missing, repeated or unknown: {verb or 'none given'}")
    required, optional = ARGUMENTS[verb]
    given = set(names) - {"verb"}
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ProtocolError("badArgument", f"Repeated argument: {', '.join(repeated)}")
    if unknown := sorted(given - required - optional):
        raise ProtocolError("badArgument", f"Illegal argument for {verb}: {', '.join(unknown)}")
    if "resumptionToken" in given:
        if given != {"resumptionToken"}:
            raise ProtocolError("badArgument", "resumptionToken is an exclusive argument")
        return verb
    if missing := sorted(required - given):
        raise ProtocolError("badArgument", f"Missing argument for {verb}: {', '.join(missing)}")
    if empty := sorted(name for name in given if not told[name]):
        raise ProtocolError("badArgument", f"Empty argument: {', '.join(empty)}")
    return verb


def date(name: str, text: str | None, granularity: str) -> tuple[int | None, bool]:
    """Seconds since the epoch, and whether the date has day granularity. None for None.

    Raises:
        ProtocolError: badArgument; not a date, or seconds asked of a repository whose granularity is days.
    """
    if text is None:
        return None, False
    days = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
    if not days and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) is None:
        raise ProtocolError("badArgument", f"{name} is not a UTCdatetime: {text}")
    if not days and granularity == DAYS:
        raise ProtocolError("badArgument", f"{name} has seconds, but the granularity of this repository is {DAYS}")
    try:
        moment = datetime.strptime(text, "%Y-%m-%d" if days else "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise ProtocolError("badArgument", f"{name} is not a date: {text}") from error
    return int(moment.timestamp()), days
