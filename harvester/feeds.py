"""What a source says of a feed that is not OAI-PMH: files in a folder, files on an SFTP server, pages of a REST endpoint.

One frozen value, the field ``feed`` of `harvester.sources.Source`. Which of its keys go with which kind of source is
told by ``FITS``; the others are refused when the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from harvester.secrets import SecretRef

Transport: TypeAlias = Literal["oai", "files", "sftp", "rest"]


class Content(StrEnum):
    """The form of the records."""

    AUTO = "auto"  # told from the content, file by file
    MARCXML = "marcxml"
    ISO2709 = "iso2709"
    MARCJSON = "marcjson"
    BIBFRAME = "bibframe"


class Paging(StrEnum):
    """How a REST endpoint is asked for its next page."""

    NEXT = "next"  # the answer holds the address of the next page
    PAGE = "page"  # by the number of the page
    OFFSET = "offset"  # by the number of records before it
    NONE = "none"  # there is one page


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """How files or pages are found and read."""

    format: Content = Content.AUTO
    """The form of the records, where the content does not tell."""
    identifier_prefix: str | None = None
    """What stands before the control number (001) in an identifier; None: the 003 in parentheses, when there is one."""
    files: tuple[str, ...] = ()
    """Patterns of the names of files; none means every file with a known ending."""
    deleted_files: tuple[str, ...] = ()
    """Patterns of the names of files that list deletions: records, or an identifier on each line."""
    unfinished: tuple[str, ...] = (".part", ".tmp", ".filepart")
    """Endings of files that are still being written."""
    settle: float = 30.0
    """Seconds for which a file must have been left alone before it is read."""
    move_to: str | None = None
    """The folder, below the one that is read, into which files go that were read; None: they stay."""
    unpacked_limit: int = 64 * 2**30
    """Bytes that one packed file may unpack to."""
    host_keys: tuple[str, ...] = ()
    """The keys that the SFTP server may have: ``ssh-ed25519 AAAA...`` or ``SHA256:...``."""
    private_key: SecretRef | None = None
    """The key to log in with, instead of a password: its text, or the path of its file."""
    records: str = ""
    """Path of the list of records in an answer, such as ``data.items``; empty: the answer is the list."""
    record: str = ""
    """Path of the record inside an item of the list; empty: the item is the record."""
    identifier: str = ""
    """Path of the identifier inside an item; empty: the control number of the record."""
    deleted: str = ""
    """Path of what is true in an item that was deleted."""
    paging: Paging = Paging.NEXT
    """How the next page is asked for."""
    next: str = ""
    """Path of the address of the next page; empty: the Link header."""
    page_parameter: str | None = None
    """The query parameter of the page's number or of the offset; None: ``page`` or ``offset``."""
    first_page: int = 1
    """The number of the first page."""
    size_parameter: str | None = None
    """The query parameter of the size of a page, sent with `page_size`; None: the endpoint decides."""
    page_size: int = 100
    """Records on a page."""
    since_parameter: str | None = None
    """The query parameter that asks for changes since a moment; None: everything comes with each pass."""

    def shown(self) -> dict[str, object]:
        """Everything for JSON; secrets as their references."""
        found: dict[str, object] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            found[each.name] = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, SecretRef | StrEnum) else value
        return found


FILES: Final[frozenset[str]] = frozenset({"files", "sftp"})
REST: Final[frozenset[str]] = frozenset({"rest"})
SFTP: Final[frozenset[str]] = frozenset({"sftp"})
FITS: Final[Mapping[str, frozenset[str]]] = {  # key of a feed: the kinds of source that it goes with
    "format": FILES | REST,
    "identifier_prefix": FILES | REST,
    **dict.fromkeys(("files", "deleted_files", "unfinished", "settle", "move_to", "unpacked_limit"), FILES),
    **dict.fromkeys(("host_keys", "private_key"), SFTP),
    **dict.fromkeys(
        (
            "records",
            "record",
            "identifier",
            "deleted",
            "paging",
            "next",
            "page_parameter",
            "first_page",
            "size_parameter",
            "page_size",
            "since_parameter",
        ),
        REST,
    ),
}
# Keys of a source that do not go with every kind.
SOURCE_FITS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("metadata_prefix", "sets", "granularity", "windows", "sweep_every", "token_retry", "end_of_list", "repair", "first_page_timeout"),
        frozenset({"oai"}),
    ),
    **dict.fromkeys(("start", "overlap", "headers", "query", "bearer_token", "page_bytes_limit", "full_every"), frozenset({"oai", "rest"})),
    **dict.fromkeys(("username", "password", "connect_timeout", "page_timeout"), frozenset({"oai", "rest", "sftp"})),
    "feed": FILES | REST,
}
