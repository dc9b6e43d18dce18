"""What to write about a repository into ``sources.yaml``, judged by what it says of itself. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from harvester.forms import ARGUMENTS
from harvester.oai import Format

LONGEST_NAME: Final = 40  # characters of a proposed name; people type it
# FOLIO offers marc21 and marc21_withholdings, Koha marc21 and marcxml, Ex Libris marc21; the rest are seen here and there.
PREFERRED: Final = (
    "marc21",
    "marcxml",
    "marc21_withholdings",
    "marc",
    "marc_xml",
    "MARC21-xml",
    "MARC21plus-1-xml",
    "oai_marc",
    "marc21xml",
)
MARC_NAMESPACE: Final = "http://www.loc.gov/MARC21/slim"
LAST_RESORT: Final = ("mods", "oai_dc")


def base_url(pasted: str) -> str:
    """The URL without the OAI-PMH arguments that come along when it is copied from a browser."""
    try:
        parts = urlsplit(pasted.strip())
    except ValueError:
        return pasted.strip()  # the configuration says what is wrong with it
    if not parts.query:
        return pasted.strip().rstrip("?")
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name.lower() not in ARGUMENTS]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def name(*, repository: str, url: str, taken: Collection[str]) -> str:
    """A name that is not taken, from what the repository calls itself, or else from its host."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    stem = _slug(repository) or _slug(host.removeprefix("www.").removeprefix("oai.")) or "source"
    candidate, number = stem, 2
    while candidate in taken:
        candidate, number = f"{stem}-{number}", number + 1
    return candidate


def prefix(formats: Sequence[Format]) -> str | None:
    """The richest format among those offered: MARC 21 before everything, Dublin Core last; None when none is offered."""
    offered = {each.prefix.lower(): each.prefix for each in reversed(formats) if each.prefix}
    of_marc = [each.prefix for each in formats if each.namespace.rstrip("/") == MARC_NAMESPACE and each.prefix]
    wanted = [*PREFERRED, *of_marc, *LAST_RESORT, *offered]
    return next((offered[each.lower()] for each in wanted if each.lower() in offered), None)


def _slug(text: str) -> str:
    """`text` in the letters of a source's name."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")
    return words if len(words) <= LONGEST_NAME else words[: LONGEST_NAME + 1].rpartition("-")[0] or words[:LONGEST_NAME]
