"""Faults that live in the page itself: each changes a page of a list, or a record, before it is written.

The repository's truth stays as it is, so a harvester that copes ends with exactly that truth.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from tests.fakes.oai_arguments import ProtocolError
from tests.fakes.oai_envelope import Entry, ListPage
from tests.fakes.oai_faults import Armed, Fault
from tests.fakes.oai_holdings import MASK
from tests.fakes.oai_protocol import Alteration, Asked, ServerError
from tests.fakes.oai_tokens import EVER

# Where text ends that a fault may spoil, in the order tried.
CLOSERS: Final = (b"</subfield>", b"</marc:subfield>", b"</dc:title>")


def _insert(payload: bytes, junk: bytes) -> bytes:
    for closer in CLOSERS:
        if closer in payload:
            return payload.replace(closer, junk + closer, 1)
    raise AssertionError("a payload without text to spoil")


def _unclose(payload: bytes) -> bytes:
    for closer in CLOSERS:
        if closer in payload:
            return payload.replace(closer, b"", 1)
    raise AssertionError("a payload without an element to leave open")


def _victim(page: ListPage, asked: Asked, fault: Fault) -> Entry | None:
    """The record to spoil: the one with the number, or the first live one from a place on; None when the page has none."""
    if fault.number is not None:
        wanted = asked.endpoint.repository.identifier(fault.number).encode()
        return next((entry for entry in page.entries if entry.identifier == wanted and entry.payload), None)
    return next((entry for entry in page.entries[fault.record :] if entry.payload), None)


def _spoil(change: Callable[[bytes], bytes | None], page: ListPage, asked: Asked, fault: Fault) -> bool:
    victim = _victim(page, asked, fault)
    if victim is None or victim.payload is None:
        return False
    victim.payload = change(victim.payload)
    return True


def _loud_status(page: ListPage, asked: Asked, fault: Fault) -> bool:
    for entry in page.entries:
        entry.status = b"DELETED"
    return any(entry.deleted for entry in page.entries)


def _empty_page(page: ListPage, asked: Asked, fault: Fault) -> bool:
    page.entries.clear()
    page.token.value = asked.endpoint.tokens.issue(replace(asked.position, page=asked.position.page + 1))
    return True


def _repeated_token(page: ListPage, asked: Asked, fault: Fault) -> bool:
    again = asked.endpoint.tokens.issue(asked.position)
    stateless = asked.endpoint.repository.token == "stateless"
    page.token.value = asked.token if asked.token is not None and stateless else again
    return True


def _duplicates(page: ListPage, asked: Asked, fault: Fault) -> bool:
    position, endpoint = asked.position, asked.endpoint
    keys = endpoint.holdings.order(position.of_set)
    first, here = bisect_left(keys, position.low), bisect_left(keys, position.after + 1)
    before = [endpoint.entry(key & MASK, position.prefix, position.verb) for key in keys[max(first, here - 2) : here]]
    page.entries[:] = before + page.entries if before else page.entries + page.entries[:1]
    return bool(page.entries)


def _backward(page: ListPage, asked: Asked, fault: Fault) -> bool:
    page.entries.reverse()
    return len(page.entries) > 1


def _outside_set(page: ListPage, asked: Asked, fault: Fault) -> bool:
    holdings, position = asked.endpoint.holdings, asked.position
    inside = set(holdings.order(position.of_set))
    stranger = next((key for key in holdings.order() if key not in inside), None)
    if stranger is None:
        return False
    page.entries.append(asked.endpoint.entry(stranger & MASK, position.prefix, position.verb))
    return True


def _outside_window(page: ListPage, asked: Asked, fault: Fault) -> bool:
    position = asked.position
    keys = asked.endpoint.holdings.order(position.of_set)
    first, last = bisect_left(keys, position.low), bisect_left(keys, position.high)
    strangers = [*keys[:first][-1:], *keys[last : last + 1]]
    page.entries.extend(asked.endpoint.entry(key & MASK, position.prefix, position.verb) for key in strangers[:1])
    return bool(strangers)


def _lost_arguments(page: ListPage, asked: Asked, fault: Fault) -> bool:
    position, endpoint = asked.position, asked.endpoint
    keys = endpoint.holdings.order()
    cursor = position.cursor + len(page.entries)
    if not 0 < cursor < len(keys):
        return False
    onward = replace(position, of_set=None, low=-EVER, high=EVER, after=keys[cursor - 1], cursor=cursor, page=position.page + 1, end=False)
    page.token.value = endpoint.tokens.issue(onward)
    return True


def _refuse(code: str, text: str, page: ListPage, asked: Asked, fault: Fault) -> bool:
    raise ProtocolError(code, text, fault.status)


def _oai_error(page: ListPage, asked: Asked, fault: Fault) -> bool:
    raise ProtocolError(fault.code, "Something went wrong inside", fault.status or 500)


def _other_verb(page: ListPage, asked: Asked, fault: Fault) -> bool:
    page.verb = "ListMetadataFormats"
    page.entries.clear()
    page.token.value = None
    return True


def _poison(page: ListPage, asked: Asked, fault: Fault) -> bool:
    wanted = asked.endpoint.repository.identifier(fault.number or 0).encode()
    if any(entry.identifier == wanted for entry in page.entries):
        raise ServerError(fault.status or 500)
    return False


_CHANGES: Final[dict[str, Callable[[ListPage, Asked, Fault], bool]]] = {
    "illegal-characters": partial(_spoil, partial(_insert, junk=b"\x0b")),
    "illegal-reference": partial(_spoil, partial(_insert, junk=b"&#x1F;")),
    "nul": partial(_spoil, partial(_insert, junk=b"\x00")),
    "malformed-record": partial(_spoil, _unclose),
    "wrong-encoding": partial(_spoil, partial(_insert, junk=b"Caf\xe9")),
    "no-metadata": partial(_spoil, lambda payload: None),
    "loud-status": _loud_status,
    "empty-page": _empty_page,
    "repeated-token": _repeated_token,
    "duplicates": _duplicates,
    "backward-datestamps": _backward,
    "outside-set": _outside_set,
    "outside-window": _outside_window,
    "lost-arguments": _lost_arguments,
    "expired-token": partial(_refuse, "badResumptionToken", "The resumption token has expired"),
    "no-records-match": partial(_refuse, "noRecordsMatch", "No records match"),
    "oai-error": _oai_error,
    "other-verb": _other_verb,
    "poison": _poison,
}


def alteration(armed: Armed | None) -> Alteration | None:
    """What a fault on duty does to the page; None when it does nothing there. A hit without effect is taken back."""
    change = None if armed is None else _CHANGES.get(armed.fault.kind)
    if armed is None or change is None:
        return None

    def alter(page: ListPage, asked: Asked) -> None:
        if not change(page, asked, armed.fault):
            armed.hits -= 1

    return alter
