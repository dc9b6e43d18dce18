"""Deterministic records: MARC 21 in MARCXML and Dublin Core for any (seed, repository, number, version).

A record is one `%` of a compiled template, about a microsecond, so a benchmark pays for the harvester and not for its stand-in.
Every datum that a station may look at is there: control fields, identifiers, agents, titles, subjects, links, holdings and items with
barcodes, non-ASCII text in several scripts, and 880 fields.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

MARC: Final = "http://www.loc.gov/MARC21/slim"
DUBLIN_CORE: Final = "http://purl.org/dc/elements/1.1/"
OAI_DC: Final = "http://www.openarchives.org/OAI/2.0/oai_dc/"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"

# The parts of a record that differ from number to number; everything else comes from the work.
_PARTS: Final = ("n", "isbn", "name", "version", "revised", "status", "seed")


class Work(NamedTuple):
    """What the records of one work share."""

    title: str
    rest: str
    author: str
    dates: str
    corporate: bool
    language: str
    country: str
    place: str
    publisher: str
    year: int
    subject: str
    region: str
    summary: str
    original: str | None = None  # the title in its own script, for an 880
    script: str = ""


WORKS: Final = (
    Work("The stone raft", "a novel of the drifting coast", "Marlow, Edith", "1931-2004", False, "eng", "nyu", "New York", "Harbor & Finch",
         1987, "Islands", "Portugal", "A peninsula breaks away and sails; five strangers learn to steer it."),
    Work("Bibliothèques & mémoire", "histoire d’une idée", "Lefèvre, Hélène", "1958-", False, "fre", "fr ", "Paris", "Éditions du Chêne",
         2011, "Libraries", "France", "Comment les bibliothèques ont façonné l’idée même de mémoire, de l’Antiquité à nos jours."),
    Work("Über die Größe kleiner Städte", "Aufsätze", "Müller, Jörg", "1949-", False, "ger", "gw ", "München", "Süßmilch Verlag",
         1999, "Cities and towns", "Germany", "Zwölf Aufsätze über Maß, Straße und Öffentlichkeit in Städten unter 20.000 Einwohnern."),
    Work("Voĭna i sosedi", "roman v dvukh chasti︠a︡kh", "Zaĭt︠s︡eva, Anna", "1902-1977", False, "rus", "ru ", "Moskva", "Khudozh. lit-ra",
         1965, "Neighbors", "Russia", "Two houses on one street through three wars.", "Война и соседи", "(N"),
    Work("Yoru no toshokan", "", "Tanaka, Sayuri", "1970-", False, "jpn", "ja ", "Tōkyō", "Kawabe Shobō",
         2008, "Librarians", "Japan", "A night watch in a public library, told in twelve short hours.", "夜の図書館", "$1"),
    Work("Annual report on inland waters", "", "Institute of Inland Fisheries", "", True, "eng", "enk", "London", "The Institute",
         1974, "Fisheries", "England", "Catch, stock and temperature of 212 lakes, with tables < 5 ha and > 5 ha apart."),
    Work("Zażółć gęślą jaźń", "wybór wierszy", "Wiśniewska, Łucja", "1985-", False, "pol", "pl ", "Łódź", "Wydawnictwo Ósme",
         2016, "Polish poetry", "Poland", "Wiersze wybrane z lat 2003–2015, w układzie autorki."),
    Work("A practical guide to dry stone walls", "third edition, with repairs", "O'Brien, Seán", "1940-2019", False, "eng", "ie ", "Dublin",
         "Furlong Books", 1992, "Dry stone walls", "Ireland", "How to read, build and mend a wall without mortar; 140 drawings."),
    Work("La mirada oblicua", "ensayos sobre cine", "Ibáñez Núñez, Íñigo", "1963-", False, "spa", "sp ", "Málaga", "Ediciones del Sur",
         2003, "Motion pictures", "Spain", "¿Quién mira a quién? Ensayos sobre el encuadre, el fuera de campo y la sombra."),
    Work("Kitāb al-ḥisāb", "", "Ibn Yūnus, Aḥmad", "-1009", False, "ara", "ua ", "al-Qāhirah", "Dār al-Nahr",
         1981, "Arithmetic", "Egypt", "An edition of the treatise from two manuscripts, with facsimiles.", "كتاب الحساب", "(3/r"),
    Work("Proceedings of the Symposium on Quiet Machines", "", "Symposium on Quiet Machines", "", True, "eng", "miu", "Ann Arbor",
         "University of Michigan Press", 2014, "Noise control", "Michigan", "Forty papers on fans, pumps & gears at 20 dB and below."),
    Work("Xiao cheng de qiu tian", "", "Lin, Mei", "1955-", False, "chi", "cc ", "Beijing", "Ren min wen xue chu ban she",
         1995, "City and town life", "China", "Autumn in a small town, in letters.", "小城的秋天", "$1"),
)  # fmt: skip

_FILLER: Final = "Contents note, transcribed from the piece in hand and kept at full length so that the record has the size of a real one. "


class _Writer:
    """Collects the fields of one MARCXML record."""

    def __init__(self, prefix: str) -> None:
        self.p = prefix
        self.out: list[str] = []

    def leader(self, value: str) -> None:
        self.out.append(f"<{self.p}leader>{value}</{self.p}leader>")

    def control(self, tag: str, value: str) -> None:
        self.out.append(f'<{self.p}controlfield tag="{tag}">{escape(value)}</{self.p}controlfield>')

    def data(self, tag: str, indicators: str, *subfields: tuple[str, str]) -> None:
        inner = "".join(f'<{self.p}subfield code="{code}">{escape(value)}</{self.p}subfield>' for code, value in subfields if value)
        self.out.append(f'<{self.p}datafield tag="{tag}" ind1="{indicators[0]}" ind2="{indicators[1]}">{inner}</{self.p}datafield>')


def _marc_fields(work: Work, place: int, online: bool, items: int, prefix: str) -> _Writer:
    w = _Writer(prefix)
    w.leader("00000{status}am a2200000 i 4500")
    w.control("001", "{name}{n}")
    w.control("003", "WR-{name}")
    w.control("005", "20240101{revised}.0")
    if online:
        w.control("007", "cr |n|||||||||")
    w.control("008", f"240101s{work.year}    {work.country}a    {'o' if online else ' '}b    001 0 {work.language} d")
    if place % 2:
        w.data("010", "  ", ("a", "  20{seed}{n}"))
    w.data("020", "  ", ("a", "{isbn}"))
    if work.corporate:
        w.data("022", "  ", ("a", "0317-8471"))
    w.data("035", "  ", ("a", "(WR-{name}){n}"))
    w.data("040", "  ", ("a", "WR-{name}"), ("c", "{seed}"))
    if work.corporate:
        w.data("110", "2 ", ("a", work.author))
    else:
        w.data("100", "1 ", ("a", work.author), ("d", work.dates))
    linked = ("6", "880-01" if work.original else "")
    w.data("245", "10", linked, ("a", work.title + (" :" if work.rest else " /")), ("b", work.rest and work.rest + " /"),
           ("c", f"{work.author}, copy {{n}}."))  # fmt: skip
    if place % 3 == 0:
        w.data("246", "3 ", ("a", f"{work.title}, no. {{n}}"))
    w.data("250", "  ", ("a", "Edition {version}."))
    w.data("264", " 1", ("a", work.place + " :"), ("b", work.publisher + ","), ("c", f"{work.year}."))
    w.data("300", "  ", ("a", "1 online resource" if online else "xii, 318 pages"))
    w.data("336", "  ", ("b", "txt"))
    w.data("337", "  ", ("b", "c" if online else "n"))
    w.data("338", "  ", ("b", "cr" if online else "nc"))
    if place % 2 == 0:
        w.data("490", "1 ", ("a", f"{work.publisher} series ;"), ("v", "{n}"))
    w.data("500", "  ", ("a", "Description revised, version {version}."))
    w.data("520", "  ", ("a", work.summary))
    w.data("650", " 0", ("a", work.subject), ("x", "History."))
    if place % 3 == 1:
        w.data("650", " 7", ("a", work.subject), ("2", "fast"))
    if place % 2:
        w.data("651", " 0", ("a", work.region))
    else:
        w.data("700", "1 ", ("a", "Kowalczyk-Ström, Åsa"))
    if online:
        w.data("776", "08", ("t", work.title), ("z", "{isbn}"))
        w.data("856", "40", ("u", "https://{name}.example.org/read/{n}?a=1&b=2"))
    else:
        w.data("852", "8 ", ("b", "MAIN"), ("c", "STACKS"), ("h", f"Z{work.year} .{{n}}"))
        for item in range(items):
            w.data("876" if place % 2 else "952", "  ", ("a", f"{{n}}-{item}"), ("p", f"3{item}000{{seed}}{{n}}"))
    if work.original:
        w.data("880", "10", ("6", f"245-01/{work.script}"), ("a", work.original))
    return w


def _marc(work: Work, place: int, online: bool, payload: str, size: int) -> str:
    prefix = "" if payload == "default" else "marc:"
    w = _marc_fields(work, place, online, 1 + place % 3, prefix)
    declaration = {"default": f' xmlns="{MARC}"', "prefixed": f' xmlns:marc="{MARC}"', "inherited": ""}[payload]
    opening, closing = f"<{prefix}record{declaration}>", f"</{prefix}record>"
    natural = len("".join(w.out).encode()) + len(opening) + len(closing)
    while natural < size:
        before = len(w.out)
        w.data("505", "8 ", ("a", (_FILLER * 4)[: max(1, min(480, size - natural - 110))]))
        natural += sum(len(field) for field in w.out[before:])
    return opening + "".join(w.out) + closing


def _dublin_core(work: Work, online: bool) -> str:
    elements = (
        ("title", f"{work.title}{' : ' + work.rest if work.rest else ''}, no. {{n}}"),
        ("creator", work.author),
        ("contributor", "Kowalczyk-Ström, Åsa"),
        ("subject", work.subject),
        ("description", work.summary),
        ("description", "Description revised, version {version}, series {seed}."),
        ("publisher", work.publisher),
        ("date", str(work.year)),
        ("type", "Text"),
        ("format", "online resource" if online else "volume"),
        ("identifier", "urn:isbn:{isbn}"),
        ("identifier", "https://{name}.example.org/read/{n}?a=1&b=2"),
        ("language", work.language),
    )
    inner = "".join(f"<dc:{name}>{escape(value)}</dc:{name}>" for name, value in elements)
    return (
        f'<oai_dc:dc xmlns:oai_dc="{OAI_DC}" xmlns:dc="{DUBLIN_CORE}" xmlns:xsi="{XSI}" '
        f'xsi:schemaLocation="{OAI_DC} http://www.openarchives.org/OAI/2.0/oai_dc.xsd">{inner}</oai_dc:dc>'
    )


Template = tuple[bytes, Callable[[tuple[bytes, ...]], tuple[Any, ...]]]


def _compile(text: str) -> Template:
    pieces = re.split(r"\{(\w+)\}", text)
    order = [_PARTS.index(part) for part in pieces[1::2]]
    return b"%b".join(piece.encode().replace(b"%", b"%%") for piece in pieces[0::2]), itemgetter(*order)


@cache
def _templates(marc: bool, payload: str, size: int) -> tuple[Template, ...]:
    """One template per work, carrier and number of items; shared by all repositories of one shape."""
    return tuple(
        _compile(_marc(work, place, online, payload, size) if marc else _dublin_core(work, online))
        for place, work in enumerate(WORKS)
        for online in (False, True)
    )


# ISBN-13 weights are 1 and 3 in turn; the sums of three digits are looked up. 978 contributes 9 + 3*7 + 8 = 38.
_ODD: Final = tuple(3 * (i // 100) + (i // 10 % 10) + 3 * (i % 10) for i in range(1000))
_EVEN: Final = tuple((i // 100) + 3 * (i // 10 % 10) + (i % 10) for i in range(1000))


def _isbn(serial: int) -> bytes:
    a, b, c = serial // 1_000_000 % 1000, serial // 1000 % 1000, serial % 1000
    return b"978%09d%d" % (serial % 1_000_000_000, -(38 + _ODD[a] + _EVEN[b] + _ODD[c]) % 10)


class Records:
    """The records of one repository: bytes of the `<metadata>` content for a number and a version."""

    def __init__(self, name: str, seed: int, record_bytes: int, payload: str) -> None:
        self._name = name.encode()
        self._seed = b"%02d" % (seed % 100)
        self._start = zlib.crc32(f"{seed}/{name}".encode())
        self._marc = _templates(True, payload, record_bytes)
        self._dublin_core = _templates(False, "default", 0)

    def payload(self, number: int, version: int, prefix: str) -> bytes:
        """The content of `<metadata>`: the inner element alone, without white space around it.

        Args:
            number: number of the record, from 0.
            version: 1 at first; another version is another content.
            prefix: metadata prefix; those that begin with "marc" are MARC 21, all others Dublin Core.
        """
        serial = self._start + number
        templates = self._marc if prefix.startswith("marc") else self._dublin_core
        template, pick = templates[serial * 7 % len(templates)]
        parts = (
            b"%06d" % number,
            _isbn(serial),
            self._name,
            b"%d" % version,
            b"%06d" % version,
            b"n" if version == 1 else b"c",
            self._seed,
        )
        return template % pick(parts)
