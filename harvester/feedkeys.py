"""The keys under ``feed:`` of a source, and the addresses that a source may have, in the manner of `harvester.keys`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from harvester.document import Place, Wrong
from harvester.feeds import Content, Feed, Paging
from harvester.forms import (
    Form,
    check_url,
    choices,
    lengths_of_time,
    lists,
    optional,
    secrets,
    sizes,
    stated,
    usable,
    whole_numbers,
    words,
)
from harvester.problems import shortened

FILE_ALLOWED: Final = "allowed: a folder of this machine, such as file:///srv/drop/alpha"
SFTP_ALLOWED: Final = "allowed: sftp://, a host and a folder, such as sftp://drop.example.org/outgoing (/~/ is the home folder)"
PATTERN_ALLOWED: Final = 'allowed: a list of patterns of names, such as ["*.mrc", "delta-*.xml.gz"]'
PATH_ALLOWED: Final = "allowed: names with dots between them, such as data.items or links.next"
PARAMETER_ALLOWED: Final = "allowed: the name of a query parameter, such as offset"
FEED_ALLOWED: Final = 'allowed: a mapping, such as {files: ["*.mrc"], move_to: done}'
KEY_ALLOWED: Final = (
    "allowed: a key such as ssh-ed25519 AAAA..., or a fingerprint such as SHA256:..., as ssh-keyscan and ssh-keygen -l show them"
)
PATH_PATTERN: Final = r"^(\$\.?)?[^\s.\[\]]*(\[(\d+|\*)\])?(\.[^\s.\[\]]+(\[(\d+|\*)\])?)*$"
HOST_KEY_PATTERN: Final = r"^(SHA256:[A-Za-z0-9+/]{43}=?|(ssh|ecdsa|sk)-[a-z0-9@.-]+ +[A-Za-z0-9+/]+={0,2}( .*)?)$"
LONGEST_KEY: Final = 4000  # characters of a public key: RSA with 16,384 bits has 2,700


def locations() -> Form:
    """Where a source is: http:, https:, file: or sftp:."""

    def read(place: Place) -> str:
        text = place.text("allowed: http://, https://, file:/// or sftp://")
        lowered = text.lower()
        if lowered.startswith("file:"):
            if not re.fullmatch(r"file:///[^\x00-\x1f]*", text, re.IGNORECASE):
                raise Wrong(f"{shortened(text)} is no folder", FILE_ALLOWED)
        elif lowered.startswith("sftp:"):
            _check_sftp(text)
        else:
            check_url(text)
        return text

    web, folder = "[hH][tT][tT][pP][sS]?://[^\\s@#]+", "[fF][iI][lL][eE]:///.*"
    return Form(read=read, schema={"type": "string", "pattern": f"^({web}|{folder}|[sS][fF][tT][pP]://[^\\s@#]+)$"})


def _check_sftp(text: str) -> None:
    """Wrong when it is no address of a folder on an SFTP server."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Wrong("the URL cannot be read", SFTP_ALLOWED) from None
    if "@" in parts.netloc:
        raise Wrong("the URL contains credentials", "write username: and password: env:NAME (or feed: {private_key: env:NAME})")
    if not host or port == 0 or not text.isprintable() or " " in text or parts.query or parts.fragment:
        raise Wrong(f"{shortened(text)} is no folder of an SFTP server", SFTP_ALLOWED)


def _host_keys() -> Form:
    def one(place: Place) -> str:
        text = place.text(KEY_ALLOWED).strip()
        if len(text) > LONGEST_KEY or not re.fullmatch(HOST_KEY_PATTERN, text, re.ASCII):
            raise Wrong(f"{shortened(text)} is no host key", KEY_ALLOWED)
        return text

    return lists(Form(read=one, schema={"type": "string", "pattern": HOST_KEY_PATTERN}), allowed=f"allowed: a list; {KEY_ALLOWED}")


def _paths() -> Form:
    return words(PATH_PATTERN, PATH_ALLOWED)


_PARAMETER: Final = optional(words(r"^[^\s&=#?]+$", PARAMETER_ALLOWED))
_PATTERNS: Final = lists(words(r"^[^/\\\s]+$", PATTERN_ALLOWED), allowed=PATTERN_ALLOWED)
FEED_KEYS: Final[tuple[tuple[str, Form, str], ...]] = (
    ("format", choices(Content), "The form of the records; told from the content when it is left out."),
    (
        "identifier_prefix",
        optional(words(r"^[!-~]+$", "allowed: text without spaces, such as oai:alpha.example.org:")),
        "What stands before the control number in an identifier; the 003 in parentheses when it is left out.",
    ),
    ("files", _PATTERNS, "Patterns of the names of files; every file with a known ending when it is left out."),
    ("deleted_files", _PATTERNS, "Patterns of the names of files that list deletions: records, or an identifier on each line."),
    (
        "unfinished",
        lists(words(r"^\.?[^/\\\s]+$", "allowed: endings such as .part"), allowed="allowed: a list of endings, such as [.part]"),
        "Endings of files that are still being written.",
    ),
    ("settle", lengths_of_time(nought=True), "How long a file must have been left alone before it is read."),
    (
        "move_to",
        optional(words(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", "allowed: the name of a folder, such as done")),
        "The folder inside the one that is read into which files go that were read; they stay when it is left out.",
    ),
    ("unpacked_limit", sizes(), "The most bytes that one packed file may unpack to."),
    ("host_keys", _host_keys(), "The keys that the SFTP server may have: ssh-ed25519 AAAA... or SHA256:...."),
    ("private_key", optional(secrets()), "The key to log in with: env:NAME or prefect:NAME, which holds its text or the path of its file."),
    ("records", _paths(), "Path of the list of records in an answer, such as data.items."),
    ("record", _paths(), "Path of the record inside an item of the list; the item is the record when it is left out."),
    ("identifier", _paths(), "Path of the identifier inside an item; the control number when it is left out."),
    ("deleted", _paths(), "Path of what is true in an item that was deleted."),
    ("paging", choices(Paging), "How the next page is asked for."),
    ("next", _paths(), "Path of the address of the next page; the Link header when it is left out."),
    ("page_parameter", _PARAMETER, "The query parameter of the page's number or of the offset."),
    ("first_page", whole_numbers(0), "The number of the first page."),
    ("size_parameter", _PARAMETER, "The query parameter of the size of a page, sent with page_size."),
    ("page_size", whole_numbers(1), "Records on a page."),
    ("since_parameter", _PARAMETER, "The query parameter that asks for changes since a moment; everything comes each time without it."),
)


def feeds() -> Form:
    """The mapping under ``feed:``."""
    known: Mapping[str, Form] = {name: form for name, form, _ in FEED_KEYS}

    def read(place: Place) -> Feed:
        values: dict[str, Any] = usable(stated(place, known, FEED_ALLOWED))
        return Feed(**values)

    properties = {name: {"description": meaning, **form.schema} for name, form, meaning in FEED_KEYS}
    return Form(read=read, schema={"type": "object", "additionalProperties": False, "properties": properties})
