"""Typed access to a record: what a title, a contributor, an ISBN is, read from its fields the same way for every source.

Each function takes a record and gives small frozen values. Texts are without the ISBD punctuation at their ends, so that
records with and without it compare; codes are as they stand. Nothing here judges: an invalid ISBN is an identifier.

Source: MARC 21 Format for Bibliographic Data and for Holdings Data.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Final

from flows.catalog.model import BibRecord, DataField

ISBD_END: Final = re.compile(r"(?:\s+[/:;=,]|[,;:/=]|\s)+$")
FULL_STOP: Final = re.compile(r"(?<!\.\.)(?<=[\w)\]\"'’”?!]{2})\.$")
LINK: Final = re.compile(r"(\d{3})-(\d\d)", re.ASCII)  # $6: linked tag and occurrence number
CONTENT: Final = {
    **dict.fromkeys("at", "txt"), **dict.fromkeys("cd", "ntm"), **dict.fromkeys("ef", "cri"), "g": "tdi", "i": "spw", "j": "prm",
    "k": "sti", "m": "cop", "r": "tdf",
}  # fmt: skip
MEDIA_007: Final = {"a": "n", "c": "c", "d": "n", "g": "g", "h": "h", "k": "n", "m": "g", "o": "n", "q": "n", "s": "s", "t": "n", "v": "v"}
CARRIERS: Final = re.compile("s[degiqstz]|c[abcdefhkrz]|h[abcdefghjz]|p[pz]|m[cforz]|g[cdfst]|e[hsz]|n[abcnorz]|v[cdfrz]|zu")
TEXT_007: Final = {"ta": "nc", "tb": "nc", "tc": "nc"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Title:
    """Title proper and what stands beside it."""

    main: str
    sub: str | None = None
    number: str | None = None
    part: str | None = None
    responsibility: str | None = None
    non_filing: int = 0
    """Characters to skip in sorting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contributor:
    """A person, corporate body or meeting of 1XX or 7XX."""

    kind: str
    """person, organisation or meeting."""
    name: str
    """The heading without title and relator subfields."""
    primary: bool
    title: str | None = None
    """Of a name/title heading."""
    roles: tuple[str, ...] = ()
    """Relator terms and codes, as they stand."""
    authority: tuple[str, ...] = ()
    """$0 and $1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifier:
    """A number that stands for the record or for what it describes."""

    kind: str
    """isbn, issn, lccn, oclc, nbn, ismn, upc, ean, publisher, system or the code of $2; other."""
    value: str
    qualifier: str | None = None
    cancelled: bool = False
    """True for cancelled, invalid or incorrect ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """Publication, distribution, manufacture or production."""

    kind: str
    """publication, distribution, manufacture, production or copyright."""
    places: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    date: str | None = None
    """As it is written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A subject or genre heading with its subdivisions."""

    kind: str
    """topic, place, person, organisation, meeting, title, time, genre or uncontrolled."""
    heading: str
    """Parts joined by ``--``."""
    scheme: str | None = None
    """lcsh, mesh and so on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """A class number."""

    scheme: str
    """lcc, ddc, udc, nlm, nal, or the code of $2."""
    number: str
    item: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """What kind of thing it is; codes of the RDA value vocabularies, from 336 to 338 or else from the fixed fields."""

    record_type: str
    """leader/06."""
    level: str
    """leader/07."""
    content: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    carrier: tuple[str, ...] = ()
    extent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """Where it is, of 852."""

    library: str | None
    location: str | None
    call_number: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One piece, of 876 to 878."""

    identifier: str | None
    barcode: str | None
    location: str | None
    copy: str | None


SUBJECTS: Final = {
    "600": "person", "610": "organisation", "611": "meeting", "630": "title", "648": "time", "650": "topic", "651": "place",
    "653": "uncontrolled", "655": "genre",
}  # fmt: skip
SCHEMES: Final = {"0": "lcsh", "1": "lcshac", "2": "mesh", "3": "nal", "5": "cash", "6": "rvm"}
PROVISION: Final = {"0": "production", "1": "publication", "2": "distribution", "3": "manufacture", "4": "copyright"}
NUMBERS: Final = {"0": "isrc", "1": "upc", "2": "ismn", "3": "ean", "4": "sici"}


def trimmed(text: str | None) -> str | None:
    """The text without white space and ISBD punctuation at its end; None for nothing.

    A full stop goes after a word, that of an abbreviation too, because nobody can tell; not after an initial or an ellipsis.
    """
    if text is None:
        return None
    text = ISBD_END.sub("", text.strip())
    return FULL_STOP.sub("", text) or None


def fields_or_alone(record: BibRecord, *tags: str) -> list[DataField]:
    """Fields with these tags, and those 880 that stand for one of them without a counterpart in Latin script."""
    found = list(record.fields(*tags))
    alone = [each for each in record.fields("880") if (link := LINK.match(each.first("6") or "")) and link[1] in tags]
    if alone:
        linked = {link[2] for each in found if (link := LINK.match(each.first("6") or ""))} - {"00"}
        for each in alone:
            link = LINK.match(each.first("6") or "")
            if link is not None and link[2] not in linked:
                found.append(dataclasses.replace(each, tag=link[1]))
    return found


def title(record: BibRecord) -> Title | None:
    """The title of 245; None when there is none."""
    for field in fields_or_alone(record, "245"):
        main = trimmed(field.first("a")) or trimmed(field.first("k"))
        if main:
            return Title(
                main=main,
                sub=_joined(field, "b"),
                number=_joined(field, "n"),
                part=_joined(field, "p"),
                responsibility=_joined(field, "c"),
                non_filing=int(field.ind2) if field.ind2.isdigit() and field.ind2.isascii() else 0,
            )
    return None


def contributors(record: BibRecord) -> tuple[Contributor, ...]:
    """Names of 1XX and 7XX; the main entry is the primary one."""
    found = []
    for field in fields_or_alone(record, "100", "110", "111", "700", "710", "711"):
        meeting = field.tag.endswith("11")
        name = " ".join(value for code, value in field.subfields if code in ("acdenq" if meeting else "abcdnq"))
        if "t" in (codes := [code for code, _ in field.subfields]):  # what follows the title belongs to it
            name = " ".join(value for code, value in field.subfields[: codes.index("t")] if code in ("acdenq" if meeting else "abcdnq"))
        if text := trimmed(name):
            found.append(
                Contributor(
                    kind={"0": "person", "1": "organisation"}.get(field.tag[1], "person") if not meeting else "meeting",
                    name=text,
                    primary=field.tag[0] == "1",
                    title=_joined(field, "t"),
                    roles=tuple(filter(None, map(trimmed, field.values(*(("j", "4") if meeting else ("e", "4")))))),
                    authority=field.values("0", "1"),
                )
            )
    return tuple(found)


def identifiers(record: BibRecord) -> tuple[Identifier, ...]:
    """Numbers of 010, 015, 020, 022, 024, 028 and 035."""
    found: list[Identifier] = []
    for field in record.fields("010", "015", "020", "022", "024", "028", "035"):
        qualifier = _joined(field, "q")
        for code, value in field.subfields:
            cancelled = code in "zy"
            if not (code == "a" or cancelled or (code in "lm" and field.tag == "022")) or not value.strip():
                continue
            kind, text = _kind(field, value)
            if field.tag == "020":
                number, _, rest = text.partition(" ")
                text, qualifier = number, qualifier or _bare(rest)
            found.append(
                Identifier(kind="issn-l" if code == "l" else kind, value=text, qualifier=qualifier, cancelled=cancelled or code == "m")
            )
    return tuple(found)


def languages(record: BibRecord) -> tuple[str, ...]:
    """Codes of 008/35-37 and 041 $a $d, without repetition."""
    fixed = (record.control("008") or "")[35:38]
    codes = [fixed] if fixed.isalpha() and fixed not in ("zxx", "und") else []
    for field in record.fields("041"):
        if field.ind2 != "7":
            for value in field.values("a", "d"):
                codes += [value] if len(value) == 3 else re.findall("[a-z]{3}", value)
    return tuple(dict.fromkeys(codes))


def publications(record: BibRecord) -> tuple[Publication, ...]:
    """Statements of 260 and 264."""
    found = []
    for field in fields_or_alone(record, "260", "264"):
        found.append(
            Publication(
                kind=PROVISION.get(field.ind2, "publication") if field.tag == "264" else "publication",
                places=_several(field, "a"),
                publishers=_several(field, "b"),
                date=trimmed(" ".join(field.values("c"))),
            )
        )
    return tuple(found)


def dates(record: BibRecord) -> tuple[str, str]:
    """Date 1 and date 2 of 008: four characters, u for an unknown digit; empty when there is none."""
    fixed = record.control("008") or ""
    return tuple(part if re.fullmatch("[0-9u]{4}", part) and part != "uuuu" else "" for part in (fixed[7:11], fixed[11:15]))  # type: ignore[return-value]


def subjects(record: BibRecord) -> tuple[Subject, ...]:
    """Headings of 6XX with their subdivisions."""
    found = []
    for field in record.fields(*SUBJECTS):
        main = [value for code, value in field.subfields if code.isalpha() and code not in "vxyzwei"]
        parts = [" ".join(main), *(value for code, value in field.subfields if code in "vxyz")]
        heading = "--".join(filter(None, map(trimmed, parts)))
        if heading:
            scheme = SCHEMES.get(field.ind2) or field.first("2")
            found.append(Subject(kind=SUBJECTS[field.tag], heading=heading, scheme=scheme))
    return tuple(found)


def classifications(record: BibRecord) -> tuple[Classification, ...]:
    """Class numbers of 050, 055, 060, 070, 080, 082 and 084; 090 and its like are local."""
    schemes = {"050": "lcc", "055": "lcc", "060": "nlm", "070": "nal", "080": "udc", "082": "ddc"}
    found = []
    for field in record.fields("050", "055", "060", "070", "080", "082", "084"):
        scheme = schemes.get(field.tag) or field.first("2") or "other"
        found += [
            Classification(scheme=scheme, number=number.strip(), item=field.first("b")) for number in field.values("a") if number.strip()
        ]
    return tuple(found)


def format_of(record: BibRecord) -> Format:
    """Content, media, carrier and extent."""
    leader = f"{record.leader:24}"
    fixed = f"{record.control('008') or '':40}"
    physical = [field.value for field in record.control_fields if field.tag == "007"]
    form = fixed[29] if leader[6] in "efgkor" else fixed[23]
    content = _codes(record, "336") or tuple(filter(None, [CONTENT.get(leader[6])]))
    media = _codes(record, "337") or tuple(dict.fromkeys(MEDIA_007[each[0]] for each in physical if each[:1] in MEDIA_007 and each))
    carrier = _codes(record, "338") or tuple(
        dict.fromkeys(code for each in physical if CARRIERS.fullmatch(code := TEXT_007.get(each[:2], each[:2])))
    )
    if not media and len(record.control("008") or "") >= 30:
        media = tuple(filter(None, ["n" if form in " dfr" else "c" if form in "oqs" else "h" if form in "abc" else None]))
    if not carrier:
        carrier = tuple(filter(None, [{"d": "nc", "r": "nc", "o": "cr"}.get(form)]))
    extents = tuple(extent for field in record.fields("300") for extent in _extents(field))
    return Format(record_type=leader[6], level=leader[7], content=content, media=media, carrier=carrier, extent=extents)


def holdings(record: BibRecord) -> tuple[Holding, ...]:
    """Places of 852."""
    return tuple(
        Holding(
            library=field.first("a"),
            location=field.first("b") or field.first("c"),
            call_number=" ".join(value for code, value in field.subfields if code in "khijlm") or None,
        )
        for field in record.fields("852")
    )


def items(record: BibRecord) -> tuple[Item, ...]:
    """Pieces of 876, 877 and 878."""
    return tuple(
        Item(identifier=field.first("a"), barcode=field.first("p"), location=field.first("l"), copy=field.first("t"))
        for field in record.fields("876", "877", "878")
    )


def _joined(field: DataField, code: str) -> str | None:
    return trimmed(" ".join(field.values(code)))


def _several(field: DataField, code: str) -> tuple[str, ...]:
    return tuple(filter(None, map(trimmed, field.values(code))))


def _extents(field: DataField) -> list[str]:
    """Each $a with the units of $f and $g that follow it."""
    parts: list[str] = []
    for code, value in field.subfields:
        if code == "a" or (code in "fg" and not parts):
            parts.append(value)
        elif code in "fg":
            parts[-1] += f" {value}"
    return [text for each in parts if (text := trimmed(each))]


def _codes(record: BibRecord, tag: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for field in record.fields(tag) for value in field.values("b")))


def _bare(text: str) -> str | None:
    return trimmed(text.strip().strip("()")) or None


def _kind(field: DataField, value: str) -> tuple[str, str]:
    text = value.strip()
    if field.tag == "024":
        return (field.first("2") or "other" if field.ind1 == "7" else NUMBERS.get(field.ind1, "other")), text
    if field.tag == "035":
        if text.startswith("(OCoLC)"):
            return "oclc", text[7:].removeprefix("ocm").removeprefix("ocn").removeprefix("on").strip()
        return "system", text
    return {"010": "lccn", "015": "nbn", "020": "isbn", "022": "issn", "028": "publisher"}[field.tag], text
