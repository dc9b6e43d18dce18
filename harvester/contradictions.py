"""Keys of a source that are right by themselves and wrong together.

A key from ``defaults:`` gives way when a source says something that it does not go with: defaults are for the sources
that they fit. Only what one and the same hand wrote can contradict itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harvester.document import Place
from harvester.forms import WRONG, Stated, usable
from harvester.secrets import REFERENCE_ALLOWED
from harvester.sources import Deletions

DAY: Final = 86400.0  # seconds
BASIC: Final = ("username", "password")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """What is wrong about the key at `place`, given the other keys."""

    place: Place
    what: str
    allowed: str


def fitting(own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> dict[str, Stated]:
    """What a source takes over from the defaults, besides what it states itself."""
    given_way: set[str] = set(own)
    deletions = _value(own, "deletions")
    if deletions is Deletions.FULL or (deletions is None and _value(inherited, "deletions") is Deletions.FULL and "windows" in own):
        given_way.add("windows")
    if deletions not in (None, Deletions.SWEEP):
        given_way.add("sweep_every")
    if _value(own, "granularity") == "day" and (_value(inherited, "windows") or DAY) < DAY:
        given_way.add("windows")
    if _is_given(own, "bearer_token") or authorization(own):
        given_way |= {*BASIC, "bearer_token"}
    if _is_given(own, "username") or _is_given(own, "password"):
        given_way.add("bearer_token")
    return {key: each for key, each in inherited.items() if key not in given_way}


def authorization(stated: Mapping[str, Stated]) -> Place | None:
    """The place of the headers, when they have an Authorization among them."""
    headers = stated.get("headers")
    if headers is None or headers.value is WRONG:
        return None
    return headers.place if any(name.lower() == "authorization" for name in headers.value) else None


def contradictions(own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> Iterator[Contradiction]:
    """Everything about a source that cannot be meant."""
    stated = {**inherited, **own}
    deletions = _value(stated, "deletions") or Deletions.TOMBSTONES
    windows, sweep = _value(stated, "windows"), _value(stated, "sweep_every")
    if windows and deletions is Deletions.FULL:
        yield Contradiction(
            place=stated["windows"].place,
            what="windows cannot be used with deletions: full, whose pass must be one list",
            allowed="leave out windows, or choose deletions: tombstones or sweep",
        )
    if sweep and deletions is not Deletions.SWEEP and "sweep_every" in own:
        yield Contradiction(
            place=stated["sweep_every"].place,
            what=f"sweep_every does nothing with deletions: {deletions.value}",
            allowed="leave out sweep_every, or add deletions: sweep",
        )
    if windows and windows < DAY and _value(stated, "granularity") == "day":
        yield Contradiction(
            place=stated["windows"].place,
            what="windows are shorter than the granularity day",
            allowed="allowed: 1d or more, or granularity: second",
        )
    yield from _about_authentication(stated)


def _about_authentication(stated: Mapping[str, Stated]) -> Iterator[Contradiction]:
    username, password, bearer = (_is_given(stated, key) for key in (*BASIC, "bearer_token"))
    header = authorization(stated)
    if username and not password:
        yield Contradiction(
            place=stated["username"].place, what="username without password", allowed=f"add password: and {REFERENCE_ALLOWED}"
        )
    if password and not username:
        yield Contradiction(place=stated["password"].place, what="password without username", allowed="add username: to it")
    ways = [key for key, given in (("username", username), ("bearer_token", bearer)) if given] + (
        ["an Authorization header"] if header else []
    )
    if len(ways) > 1:
        place = header or stated["bearer_token"].place
        yield Contradiction(place=place, what=f"{' and '.join(ways)} contradict each other", allowed="keep one of them")


def _value(stated: Mapping[str, Stated], key: str) -> Any:
    """The value that is stated for `key`; None when there is none, or none that could be read."""
    return usable(stated).get(key)


def _is_given(stated: Mapping[str, Stated], key: str) -> bool:
    """Is there a value for `key`, be it one that could not be read?"""
    return key in stated and stated[key].value is not None
