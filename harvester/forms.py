"""The forms that values of ``sources.yaml`` take: how each is read, what is allowed, and how JSON Schema says it.

A form raises `Wrong` for a value that is wrong as a whole, and reports what is wrong inside a list or mapping where it
stands, so that one reading finds everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from harvester import durations
from harvester.document import Place, Wrong
from harvester.problems import meant, one_of, shortened
from harvester.secrets import REFERENCE_ALLOWED, REFERENCE_PATTERN, SecretRef

Schema = Mapping[str, Any]

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]*$"
NAME_ALLOWED: Final = "allowed: lower-case letters, digits, and . _ - after the first character"
LONGEST_NAME: Final = 200  # characters
LARGEST_COUNT: Final = 10**9
EARLIEST, LATEST = 1900, 2999  # years: a moment may be moved by an overlap or a window without leaving the calendar
URL_ALLOWED: Final = "allowed: http:// or https://, a host and a path, such as https://alpha.example.org/oai"
PREFIX_PATTERN: Final = r"^[A-Za-z0-9\-_.!~*'()]+$"  # OAI-PMH 2.0, 3.4: URI unreserved characters
ARGUMENTS: Final = frozenset({"verb", "metadataprefix", "from", "until", "set", "resumptiontoken", "identifier"})  # of OAI-PMH itself
TRANSPORT_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
SECRET_NAME: Final = re.compile(
    r"authoriz|authentic|(^|[-_.])auth([-_.]|$)|api[-_.]?key|token|passw|pwd|secret|credential|cookie|signature|(^|[-_.])(ws)?key$",
    re.IGNORECASE,
)
SECRET_VALUE: Final = re.compile(r"(basic|bearer)\s+\S", re.IGNORECASE)
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
WRONG: Final = object()  # stands for a value that could not be read, so that nothing is called missing on its account
YES_NO: Final = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One kind of value."""

    read: Callable[[Place], Any]
    """The value at a place; Wrong when there is none."""
    schema: Schema
    """The same as JSON Schema, as far as that can say it."""


def words(pattern: str, allowed: str) -> Form:
    """One word of a pattern."""

    def read(place: Place) -> str:
        return word(place.text(allowed), pattern, allowed)

    return Form(read=read, schema={"type": "string", "pattern": pattern, "maxLength": LONGEST_NAME})


def word(text: str, pattern: str, allowed: str) -> str:
    """`text` itself. Wrong when it does not match the pattern, or is too long for any name."""
    if len(text) > LONGEST_NAME or not re.fullmatch(pattern, text, re.ASCII):
        raise Wrong(f"{shortened(text)} cannot be used", allowed)
    return text


def whole_numbers(least: int) -> Form:
    """A whole number from `least` on."""
    allowed = f"allowed: a whole number from {least}"

    def read(place: Place) -> int:
        text = place.text(allowed)
        if not re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) or not least <= int(text) <= LARGEST_COUNT:
            raise Wrong(f"{shortened(text)} is not a {'positive ' if least == 1 else ''}whole number", allowed)
        return int(text)

    return Form(read=read, schema={"type": "integer", "minimum": least, "maximum": LARGEST_COUNT})


def lengths_of_time(*, nought: bool = False, least: float = 0.0) -> Form:
    """A duration, in seconds; longer than nothing unless `nought` is allowed."""

    def read(place: Place) -> float:
        text = place.text(durations.DURATION_ALLOWED)
        try:
            found = durations.seconds(text)
        except ValueError as error:
            raise Wrong(str(error), durations.DURATION_ALLOWED) from None
        if found <= 0 and not nought:
            raise Wrong(f"{shortened(text)} is no time at all", "allowed: more than 0 seconds")
        if found < least:
            raise Wrong(f"{shortened(text)} is too short", f"allowed: {durations.spoken(least)} or longer")
        return found

    number: Schema = {"type": "number", "minimum": least} if nought or least else {"type": "number", "exclusiveMinimum": 0}
    return Form(read=read, schema={"anyOf": [number, {"type": "string", "pattern": durations.DURATION_PATTERN}]})


def sizes() -> Form:
    """A number of bytes."""

    def read(place: Place) -> int:
        text = place.text(durations.SIZE_ALLOWED)
        try:
            return durations.size(text)
        except ValueError as error:
            raise Wrong(str(error), durations.SIZE_ALLOWED) from None

    schema: Schema = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": durations.SIZE_PATTERN}]}
    return Form(read=read, schema=schema)


def shares() -> Form:
    """A part of a whole: 0 to 1, or a percentage."""
    allowed = "allowed: a number from 0 to 1, or a percentage such as 25%"

    def read(place: Place) -> float:
        text = place.text(allowed)
        found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)\s*(%?)", text.strip(), re.ASCII)
        share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if not 0 <= share <= 1:
            raise Wrong(f"{shortened(text)} is not a share", allowed)
        return share

    percentage: Schema = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,9})?\s*%$"}
    return Form(read=read, schema={"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, percentage]})


def choices(kind: type[StrEnum]) -> Form:
    """One of a few words."""
    names = [each.value for each in kind]

    def read(place: Place) -> StrEnum:
        text = place.text(one_of(names))
        if text not in names:
            raise Wrong(f"{shortened(text)} is not known", one_of(names, written=text))
        return kind(text)

    return Form(read=read, schema={"enum": names})


def flags() -> Form:
    """true or false."""
    allowed = "allowed: true, false"

    def read(place: Place) -> bool:
        text = place.text(allowed)
        if text.lower() not in YES_NO:
            raise Wrong(f"{shortened(text)} is neither true nor false", allowed)
        return YES_NO[text.lower()]

    return Form(read=read, schema={"type": "boolean"})


def moments() -> Form:
    """A date, or a moment with its time zone; aware, in UTC."""
    allowed = "allowed: a date or a UTC moment, such as 2015-01-01 or 2015-01-01T00:00:00Z"

    def read(place: Place) -> datetime:
        text = place.text(allowed)
        try:
            found = datetime.fromisoformat(text.strip())
            if found.tzinfo is None and re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip(), re.ASCII):
                found = found.replace(tzinfo=UTC)
            elif found.tzinfo is None:
                raise Wrong(f"{shortened(text)} has no time zone", allowed)
            if not EARLIEST <= found.year <= LATEST:
                raise Wrong(f"{shortened(text)} is out of range", f"allowed: years from {EARLIEST} to {LATEST}")
            return found.astimezone(UTC)
        except Wrong:
            raise
        except (ValueError, OverflowError):
            raise Wrong(f"{shortened(text)} is not a moment", allowed) from None

    return Form(
        read=read, schema={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2}))?$"}
    )


def urls() -> Form:
    """The base URL of a repository."""

    def read(place: Place) -> str:
        text = place.text(URL_ALLOWED)
        check_url(text)
        return text

    return Form(read=read, schema={"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^\\s@#]+$"})


def check_url(text: str) -> None:
    """Wrong when `text` cannot be the base URL of a repository. A message never repeats credentials."""
    if re.search(r"\s", text) or not text.isprintable():
        raise Wrong("the URL contains spaces or invisible characters", "write them as %20, or remove them")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Wrong("the URL cannot be read", URL_ALLOWED) from None
    if "@" in parts.netloc or ("@" in text and parts.scheme not in ("http", "https")):
        raise Wrong(
            "the URL contains credentials", "write username: and password: env:NAME (or bearer_token: env:NAME) and leave them out here"
        )
    if parts.scheme not in ("http", "https"):
        scheme = shortened(parts.scheme + ":") if parts.scheme else "no scheme"
        raise Wrong(f"the URL has {scheme}", URL_ALLOWED)
    if not _is_host(host) or port == 0:
        raise Wrong("the URL has no usable host", URL_ALLOWED)
    if parts.fragment:
        raise Wrong(f"the URL has a fragment ({shortened('#' + parts.fragment)})", "leave out # and what follows")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name.lower() in ARGUMENTS:
            raise Wrong(f"the URL contains the OAI-PMH argument {name}", "leave it out: Windrow adds it to every request itself")
        if value and SECRET_NAME.search(name):
            raise Wrong(f"the URL contains the secret {shortened(name)}", f"write it under query: as {name}: env:NAME")


def _is_host(host: str) -> bool:
    """A name, also one beyond ASCII, or an address; what a resolver would refuse is refused here."""
    if ":" in host:  # IPv6, whose brackets urlsplit has taken away and checked
        return True
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(re.fullmatch(r"(?!-)[\w-]{1,63}(?<!-)", label) for label in labels)


def secrets() -> Form:
    """A reference to a secret."""

    def read(place: Place) -> SecretRef:
        return _reference(place, place.text(REFERENCE_ALLOWED))

    return Form(read=read, schema={"type": "string", "pattern": REFERENCE_PATTERN})


def public_or_secret() -> Form:
    """Text that may stand in the file, or a reference to a secret."""
    allowed = "allowed: text, env:NAME or prefect:NAME"

    def read(place: Place) -> str | SecretRef:
        return _text_or_reference(place, place.text(allowed))

    return Form(read=read, schema={"type": "string", "minLength": 1})


def parameters(*, of_headers: bool) -> Form:
    """Extra headers or query parameters: names and values, of which the secret ones are references."""
    kind = "header" if of_headers else "query parameter"
    allowed = f"allowed: a mapping of {kind} names to text, env:NAME or prefect:NAME"
    taken = TRANSPORT_HEADERS if of_headers else ARGUMENTS

    def read(place: Place) -> dict[str, str | SecretRef]:
        found: dict[str, str | SecretRef] = {}
        for name, value in place.entries(allowed):
            try:
                if name.lower() in taken:
                    raise Wrong(f"the {kind} {name} cannot be configured", "leave it out: Windrow sets it on every request itself")
                if not name or not name.isprintable() or (of_headers and not HEADER_NAME.fullmatch(name)):
                    raise Wrong(f"{shortened(name)} cannot be the name of a {kind}", allowed)
                if of_headers and name.lower() in {each.lower() for each in found}:
                    raise Wrong(f"the header {name} stands there twice", "each name is allowed once, whatever its case")
                text = value.text(allowed)
                if SECRET_NAME.search(name) or SECRET_VALUE.match(text):
                    found[name] = _reference(value, text)
                else:
                    found[name] = _text_or_reference(value, text)
            except Wrong as wrong:
                value.report(wrong.what, wrong.allowed)
        return found

    return Form(read=read, schema={"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})


def lists(item: Form, *, allowed: str) -> Form:
    """A list of values of one form, each of them once."""

    def read(place: Place) -> tuple[Any, ...]:
        found: list[Any] = []
        for each in place.items(allowed):
            try:
                value = item.read(each)
                if value in found:
                    raise Wrong(f"{each.described()} stands there twice", "each is allowed once")
                found.append(value)
            except Wrong as wrong:
                each.report(wrong.what, wrong.allowed)
        return tuple(found)

    return Form(read=read, schema={"type": "array", "items": item.schema, "uniqueItems": True})


def optional(form: Form) -> Form:
    """The same, or ``null``, which takes back what ``defaults:`` says."""

    def read(place: Place) -> Any:
        return None if place.is_null and not place.is_nothing else form.read(place)

    if "enum" in form.schema:
        return Form(read=read, schema={"enum": [*form.schema["enum"], None]})
    if "anyOf" in form.schema:
        return Form(read=read, schema={"anyOf": [*form.schema["anyOf"], {"type": "null"}]})
    return Form(read=read, schema={**form.schema, "type": [form.schema["type"], "null"]})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """A value and the place that states it."""

    value: Any
    """As it was read; WRONG when it could not be, which has been reported."""
    place: Place
    """Where it stands."""


def stated(place: Place, known: Mapping[str, Form], allowed: str) -> dict[str, Stated]:
    """What a mapping with fixed keys states. What is wrong is reported."""
    found: dict[str, Stated] = {}
    misspelt: dict[str, Stated] = {}  # what was meant is not called missing as well
    for name, value in place.entries(allowed):
        if name not in known:
            value.report(f"the key {shortened(name)} is not known", one_of(known, written=name))
            misspelt[meant(name, known) or name] = Stated(value=WRONG, place=value)
            continue
        try:
            found[name] = Stated(value=known[name].read(value), place=value)
        except Wrong as wrong:
            found[name] = Stated(value=WRONG, place=value)
            value.report(wrong.what, wrong.allowed)
    return misspelt | found


def usable(found: Mapping[str, Stated]) -> dict[str, Any]:
    """The values of what was stated, without those that are wrong."""
    return {name: each.value for name, each in found.items() if each.value is not WRONG}


def _reference(place: Place, text: str) -> SecretRef:
    reference = SecretRef.read(text)
    if reference is None:
        wrong = "the reference to a secret is malformed" if text.startswith(("env:", "prefect:")) else "a secret must not stand in the file"
        raise Wrong(wrong, REFERENCE_ALLOWED)
    place.document.references.append((reference, place))
    return reference


def _text_or_reference(place: Place, text: str) -> str | SecretRef:
    if text.startswith(("env:", "prefect:")):
        return _reference(place, text)
    if not text.isprintable():
        raise Wrong("the text contains line breaks or invisible characters", "allowed: one line of text")
    return text
