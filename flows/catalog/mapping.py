"""From the statements about a bf:Instance, its work and its items to fields in MARC 21 shape.

The exact heading of ``bflc:marcKey`` is taken where it is; labels otherwise. Where a text stands in two scripts, the one
in Latin letters is the field and the other its 880. Texts get no ISBD punctuation: leader/18 says ``c`` where the
conventions say nothing else. ``vocabulary`` has the tables.
"""

from __future__ import annotations

import re
from typing import Final

from flows.catalog.draft import Parts, local, paired_scripts
from flows.catalog.headings import Headings
from flows.catalog.model import ControlField, DataField
from flows.catalog.rdf import text_of
from flows.catalog.vocabulary import (
    CLASSIFICATIONS,
    IDENTIFIERS,
    ISSUANCE,
    MANUSCRIPT,
    NOTES,
    PROVISIONS,
    RECORD_TYPES,
    SHELF_MARKS,
)

DATE_TIME: Final = re.compile(r"\A(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d))?", re.ASCII)
EDTF_YEAR: Final = re.compile(r"(?<![\dX])(\d[\dXxu]{3})(?![\dX])", re.ASCII)
INTERNAL_040: Final = re.compile(r"\A040\s*(\$.*)", re.DOTALL)
LANGUAGE_PARTS: Final = {
    "summary": "b", "abstract": "b", "libretto": "e", "table of contents": "f", "accompanying": "g", "original": "h", "subtitle": "j",
    "caption": "j",
}  # fmt: skip
BLANK_008: Final = "|" * 17
SIMPLE_NOTES: Final = (
    ("bf:tableOfContents", "505", "0 "),
    ("bf:credits", "508", "  "),
    ("bf:summary", "520", "  "),
    ("bf:intendedAudience", "521", "  "),
    ("bf:preferredCitation", "524", "  "),
    ("bf:immediateAcquisition", "541", "  "),
    ("bf:custodialHistory", "561", "  "),
    ("bf:awards", "586", "  "),
)


class Mapping(Headings):
    """The draft of a whole record."""

    def fields(self) -> tuple[str, tuple[ControlField, ...], tuple[DataField, ...]]:
        """Leader, control fields and data fields."""
        self._administration()
        self._kind()
        self._contributions()
        self._titles()
        self._identifiers()
        self._provision()
        self._description()
        self._subjects()
        self._classifications()
        self._relations()
        self._notes()
        self._locations()
        control = tuple(ControlField(tag, value) for tag, value in sorted(self._control.items()))
        return "".join(self._leader), control, self._sorted() if self._fields else ()

    # ------------------------------------------------------------------ administration

    def _administration(self) -> None:
        graph = self.graph
        admins = graph.all(self.instance, "bf:adminMetadata")
        own = bool(admins)
        for work in self.works:
            admins = admins + [each for each in graph.all(work, "bf:adminMetadata") if each not in admins]
        numbers: list[tuple[str, str]] = []
        entered: list[str] = []
        changed: list[str] = []
        for admin in admins:
            converted = bool(graph.all(admin, "bf:generationProcess"))
            statuses = {local(each) for each in graph.all(admin, "bf:status")}
            dates = [text_of(each) for each in graph.all(admin, "bf:date")] if not converted else []
            for each in graph.all(admin, "bf:status"):
                graph.label(each)
            entered += [*(dates if "n" in statuses else []), *graph.texts(admin, "bf:creationDate")]
            changed += [*(dates if "n" not in statuses else []), *graph.texts(admin, "bf:changeDate")]
            if converted:
                graph.all(admin, "bf:date")
            elif "d" in statuses:
                self._leader[5] = "d"
            for node in graph.all(admin, "bf:identifiedBy"):
                assigner = graph.text(node, "bf:assigner") or ""
                if "bf:Local" in graph.types(node) and (value := graph.text(node, "rdf:value")):
                    numbers.append((value, min((self._code(each) for each in graph.all(node, "bf:assigner")), default="") or assigner))
            for level in graph.all(admin, "bflc:encodingLevel"):
                graph.label(level)
                self._leader[17] = {"f": " ", "": " "}.get(code := local(level), code[:1])
            self._cataloguing(admin)
        if numbers:
            self.control_number, agency = sorted(numbers)[0]
            if agency:
                self._control["003"] = agency
        else:
            self.control_number = local(self.instance).removesuffix("#Instance") or local(self.works[0] if self.works else self.instance)
        if self.beside is not None and not own:
            self.control_number = f"{self.beside}-{local(self.instance)}"
        if self.control_number:
            self._control["001"] = self.control_number
        if changed and (match := DATE_TIME.match(max(changed))):
            year, month, day, hour, minute, second = match.groups("00")
            self._control["005"] = f"{year}{month}{day}{hour}{minute}{second}.0"
            self._leader[5] = "c" if self._leader[5] == "n" else self._leader[5]
        if entered and (match := DATE_TIME.match(min(entered))):
            self._entered = match[1][2:] + match[2] + match[3]

    _entered = "||||||"

    def _cataloguing(self, admin: str) -> None:
        graph = self.graph
        internal = [key for text in graph.texts(admin, "bf:note") if (key := INTERNAL_040.match(text))]
        for note in graph.all(admin, "bf:note"):
            graph.types(note)
        agencies = sorted(self._code(each) for each in graph.all(admin, "bf:agent"))
        modifiers = sorted(self._code(each) for each in graph.all(admin, "bf:descriptionModifier"))
        language = min((local(each) for each in graph.all(admin, "bf:descriptionLanguage")), default=None)
        conventions = sorted(self._code(each) or local(each) for each in graph.all(admin, "bf:descriptionConventions"))
        for convention in conventions:
            if convention in ("aacr", "isbd"):
                self._leader[18] = convention[0]
        if internal:
            self._put("040", "  ", [(each[0], each[1:]) for each in internal[0][1].split("$") if len(each) > 1])
        elif language or [each for each in conventions if each not in ("aacr", "isbd")]:
            named = [("e", each) for each in conventions if each not in ("aacr", "isbd")]
            self._put("040", "  ", [*(("a", each) for each in agencies[:1]), ("b", language), *named, *(("d", each) for each in modifiers)])
        self._put(
            "042",
            "  ",
            [("a", self._code(each) or local(each)) for each in sorted(graph.all(admin, "bf:descriptionAuthentication"), key=local)],
        )

    # ------------------------------------------------------------------ kind of thing

    def _kind(self) -> None:
        graph = self.graph
        types = frozenset().union(*(graph.types(node) for node in self.nodes))
        record_type = next((code for name, code in RECORD_TYPES.items() if name in types), "a")
        if "bf:Manuscript" in types:
            record_type = MANUSCRIPT.get(record_type, record_type)
        self._leader[6] = record_type
        issuance = [local(each) for node in self.nodes for each in graph.all(node, "bf:issuance")]
        level = next((ISSUANCE[each] for each in sorted(issuance) if each in ISSUANCE), "s" if "bf:Serial" in types else "m")
        self._leader[7] = "c" if "bf:Collection" in types and level == "m" else level
        for tag, predicate, scheme in (
            ("336", "bf:content", "rdacontent"),
            ("337", "bf:media", "rdamedia"),
            ("338", "bf:carrier", "rdacarrier"),
        ):
            for node in dict.fromkeys(each for each in self.nodes for each in graph.all(each, predicate)):
                if node[0] == '"':
                    self._put(tag, "  ", [("a", text_of(node))])
                else:
                    graph.all(node, "bf:source", "rdf:type")
                    self._put(tag, "  ", [("a", graph.label(node)), ("b", local(node) or graph.text(node, "bf:code")), ("2", scheme)])

    # ------------------------------------------------------------------ identifiers

    def _identifiers(self) -> None:
        graph = self.graph
        for owner in self.nodes:
            for node in graph.all(owner, "bf:identifiedBy"):
                types = graph.types(node)
                tag, ind1, scheme = next((IDENTIFIERS[name] for name in sorted(types) if name in IDENTIFIERS), ("024", "8", ""))
                value = graph.text(node, "rdf:value", "rdfs:label")
                if not value:
                    continue
                if tag == "010":
                    value = next((text_of(each) for each in graph.all(node, "rdf:value") if each[0] == '"'), value)
                state = {local(each) for each in graph.all(node, "bf:status")} | {text.lower() for text in graph.texts(node, "bf:status")}
                code = "z" if state & {"cancinv", "incorrect", "invalid", "canceled", "cancelled", "canceled or invalid"} else "a"
                source = min((self._code(each) for each in graph.all(node, "bf:source")), default=None)
                if source and scheme == "" and tag == "024" and ind1 == "8":
                    ind1 = "7"
                assigner = min((self._code(each) for each in graph.all(node, "bf:assigner")), default=None)
                extra: list[tuple[str, str | None]] = [("q", each) for each in graph.texts(node, "bf:qualifier")]
                extra.append(("c", graph.text(node, "bf:acquisitionTerms")))
                if tag == "022":
                    code = "l" if "bf:IssnL" in types else "y" if "incorrect" in state else code
                elif tag == "028":
                    extra.insert(0, ("b", assigner))
                elif tag == "035":
                    agency = "OCoLC" if "bf:OclcNumber" in types else assigner
                    value = f"({agency}){value}" if agency and not value.startswith("(") else value
                elif tag in ("015", "017", "036"):
                    extra.append(("b" if tag != "015" else "2", assigner if tag != "015" else source))
                if tag in ("024", "017", "027") or (tag == "010" and source):
                    extra.append(("2", scheme or source if tag == "024" and ind1 == "7" else None))
                self._put(tag, ind1 + ("2" if tag == "028" else " "), [(code, value), *extra])

    # ------------------------------------------------------------------ provision

    def _provision(self) -> None:
        graph = self.graph
        country = "xx "
        years: list[str] = []
        made: list[tuple[str, Parts, Parts, bool]] = []
        activities = graph.all(self.instance, "bf:provisionActivity")
        for node in sorted(
            activities, key=lambda each: (graph.texts(each, "bf:date"), graph.texts(each, "bflc:simplePlace", "bflc:simpleAgent"))
        ):
            types = graph.types(node)
            kind = next((code for name, code in PROVISIONS.items() if name in types), "1")
            dates = graph.texts(node, "bf:date")
            places = [each for each in graph.all(node, "bf:place") if each[0] != '"']
            codes = [local(each) for each in places if "/countries/" in each]
            if codes:
                country = f"{min(codes).replace('|', ' '):3.3}"
            if kind in "01" or not years:
                years = [year for text in dates for year in EDTF_YEAR.findall(text)] or years
            named = [graph.label(each) for each in places if "/countries/" not in each]
            columns = [
                graph.texts(node, "bflc:simplePlace") or [each for each in named if each],
                graph.texts(node, "bflc:simpleAgent") or graph.texts(node, "bf:agent"),
                graph.texts(node, "bflc:simpleDate") or [re.sub("[~?%]", "", each) for each in dates],
            ]
            split = [paired_scripts(each) for each in columns]
            parts = [(code, text) for code, column in zip("abc", split, strict=True) for text, _ in column]
            other = [(code, text) for code, column in zip("abc", split, strict=True) for _, text in column if text]
            made.append((kind, parts, other, bool(graph.all(node, "bflc:simplePlace", "bflc:simpleAgent", "bflc:simpleDate"))))
            self._ceased = self._ceased or any(local(each) == "ceased" for each in graph.all(node, "bf:status"))
            self._open = self._open or any(text.endswith(("/..", "/")) for text in dates)
        statements = graph.texts(self.instance, "bf:publicationStatement")
        written = any(simple for *_, simple in made)
        for kind, shown, hidden, simple in made:
            if simple or not written:  # beside what was transcribed, an activity without it only repeats the codes of 008
                self._put("264", f" {kind}", shown, other=hidden)
        if not made and statements:
            self._put("264", " 1", [("b", statements[0])])
        self._put_texts("264", " 4", "c", graph.texts(self.instance, "bf:copyrightDate"))
        self._fixed(years, country)

    _ceased = False  # a serial that has come to its end
    _open = False  # a date without an end

    def _fixed(self, years: list[str], country: str) -> None:
        graph = self.graph
        origin = [year for work in self.works for text in graph.texts(work, "bf:originDate") for year in EDTF_YEAR.findall(text)]
        years = [re.sub("[Xx]", "u", year) for year in years]
        origin = [re.sub("[Xx]", "u", year) for year in origin if year not in years]
        first = years[0] if years else "    "
        second = years[1] if len(years) > 1 and years[1] != first else origin[0] if origin and years else "    "
        kind = "n" if not years else "s" if second == "    " else "m" if len(years) > 1 else "r"
        if not years:
            first = second = "uuuu"
        elif "u" in first and len(years) > 1:
            kind, second = "q", years[1]
        if self._open and years:
            kind, second = "c", "9999"
        elif self._ceased and years:
            kind = "d"
        languages = [local(each) for work in self.works for each in graph.all(work, "bf:language") if each[0] == "<"]
        parts: dict[str, list[str]] = {}
        for work in self.works:
            for node in graph.all(work, "bf:language"):
                if node[0] == "_":
                    self._language_part(node, parts, languages)
        codes = sorted({each for each in languages if re.fullmatch("[a-z]{3}", each)})
        language = codes[0] if codes else "|||"
        self._control["008"] = f"{self._entered}{kind}{first}{second}{country}{BLANK_008}{language}| "
        if len(codes) > 1 or parts:
            extra = [(code, each) for code in sorted(parts) for each in sorted(set(parts[code]))]
            self._put("041", "1 " if "h" in parts else "0 ", [*(("a", each) for each in codes), *extra])

    def _language_part(self, node: str, parts: dict[str, list[str]], languages: list[str]) -> None:
        graph = self.graph
        graph.types(node)
        codes = [local(each) for each in graph.all(node, "rdf:value") if each[0] == "<"] or graph.texts(node, "rdf:value", "bf:code")
        kind = (graph.text(node, "bf:part") or "").lower()
        code = next((code for name, code in LANGUAGE_PARTS.items() if name in kind), "")
        if code:
            parts.setdefault(code, []).extend(codes)
        else:
            languages += codes

    # ------------------------------------------------------------------ description

    def _description(self) -> None:
        graph = self.graph
        instance = self.instance
        self._put_texts("250", "  ", "a", graph.texts(instance, "bf:editionStatement"))
        dimensions = graph.texts(instance, "bf:dimensions")
        extents = sorted(graph.all(instance, "bf:extent"), key=lambda each: (each[0] != '"' and graph.label(each)) or each)
        for position, extent in enumerate(extents or (['"" '] if dimensions else [])):
            label = text_of(extent) if extent[0] == '"' else graph.label(extent)
            notes = graph.texts(extent, "bf:note") if extent[0] != '"' else []
            for note in graph.all(extent, "bf:note"):
                graph.types(note)
            sizes = dimensions if position == len(extents or [""]) - 1 else []
            graph.types(extent)
            self._put("300", "  ", [("a", label), *(("b", each) for each in notes), *(("c", each) for each in sizes)])
        for node in self.nodes:
            self._put_texts("306", "  ", "a", graph.texts(node, "bf:duration"))
            for frequency in graph.all(node, "bf:frequency"):
                label = text_of(frequency) if frequency[0] == '"' else graph.label(frequency)
                former = any(local(each) == "former" for each in graph.all(frequency, "bf:status"))
                graph.types(frequency)
                self._put("321" if former else "310", "  ", [("a", label), ("b", graph.text(frequency, "bf:date"))])
            first, last = graph.text(node, "bf:firstIssue"), graph.text(node, "bf:lastIssue")
            if first or last:
                self._put("362", "0 ", [("a", f"{first or ''}-{last or ''}")])
            self._put_texts("384", "  ", "a", graph.texts(node, "bf:musicKey"))
            self._put_texts("507", "  ", "a", graph.texts(node, "bf:scale"))
            for medium in graph.all(node, "bf:musicMedium"):
                graph.all(medium, "rdf:type")
                self._put("382", "  ", [("a", graph.label(medium))])
            for thesis in graph.all(node, "bf:dissertation"):
                degree, year = graph.text(thesis, "bf:degree"), graph.text(thesis, "bf:date")
                self._put(
                    "502",
                    "  ",
                    [("a", graph.label(thesis)), ("b", degree), ("c", graph.text(thesis, "bf:grantingInstitution")), ("d", year)],
                )
            for statement in graph.texts(node, "bf:seriesStatement"):
                self._put("490", "0 ", [("a", statement), ("v", graph.text(node, "bf:seriesEnumeration"))])

    def _notes(self) -> None:
        graph = self.graph
        for owner in [*self.nodes, *self.items]:
            for node in graph.all(owner, "bf:note") if owner not in self.items else ():
                if node[0] == '"':
                    self._put("500", "  ", [("a", text_of(node))])
                    continue
                kinds = sorted(local(each) for each in graph.all(node, "rdf:type") if "mnotetype" in each)
                tag = next((NOTES[each] for each in kinds if each in NOTES), "500")
                kind = graph.text(node, "bf:noteType") if "bf:noteType" in graph.statements.get(node, {}) else None
                cited = graph.text(node, "bflc:citation")
                text = paired_scripts(graph.texts(node, "rdfs:label", "rdf:value"))
                indicators = {"510": "4 " if cited else "3 ", "511": "0 ", "583": "  ", "588": "0 "}.get(tag, "  ")
                for first, second in text:
                    self._put(
                        tag,
                        indicators,
                        [("3", kind), ("a", first), ("c", cited)] if tag == "510" else [("a", first)],
                        other=[("a", second)] if second else (),
                    )
            for predicate, tag, indicators in SIMPLE_NOTES:
                self._put_texts(tag, indicators, "a", graph.texts(owner, predicate))
                for node in graph.all(owner, predicate):
                    graph.types(node)
            for policy in graph.all(owner, "bf:usageAndAccessPolicy"):
                tag = "506" if "bf:AccessPolicy" in graph.types(policy) else "540"
                self._put(tag, "  ", [("a", text_of(policy) if policy[0] == '"' else graph.label(policy))])

    def _classifications(self) -> None:
        graph = self.graph
        for owner in self.nodes:
            for node in graph.all(owner, "bf:classification"):
                types = graph.types(node)
                tag = next((CLASSIFICATIONS[name] for name in CLASSIFICATIONS if name in types), "084")
                assigners = [
                    local(each).lower() if each[0] == "<" else (self._code(each)).lower() for each in graph.all(node, "bf:assigner")
                ]
                graph.all(node, "bf:status")
                edition = (graph.text(node, "bf:edition") or "").lower()
                source = min((self._code(each) for each in graph.all(node, "bf:source")), default=None)
                if tag == "084" and source == "sudocs":
                    tag = "086"
                by_library = "0" if "dlc" in assigners or ("dnlm" in assigners and tag == "060") else "4"
                indicators = {
                    "050": f" {by_library}",
                    "060": f" {by_library}",
                    "082": ("1" if edition == "abridged" else "0") + by_library,
                    "086": "0 ",
                }.get(tag, "  ")
                portions: Parts = [("a", each) for each in graph.texts(node, "bf:classificationPortion")] or [("a", graph.label(node))]
                scheme = source if tag in ("080", "082", "084") else None
                self._put(tag, indicators, [*portions, ("b", graph.text(node, "bf:itemPortion")), ("2", scheme)])

    # ------------------------------------------------------------------ places

    def _locations(self) -> None:
        graph = self.graph
        for node in graph.all(self.instance, "bf:electronicLocator"):
            self._locator(node, "40")
        if self.beside is None:
            for work in self.works:
                for other in graph.all(work, "bf:hasInstance"):
                    if other != self.instance and not graph.statements.get(other, {}).get("bf:adminMetadata"):
                        for node in graph.statements.get(other, {}).get("bf:electronicLocator", ()):
                            self._locator(node, "41")  # a version of the resource, which is a record of its own too
        for item in self.items:
            self._item(item)

    def _locator(self, node: str, indicators: str) -> None:
        graph = self.graph
        if node[0] == "_":
            addresses = [text_of(each) for each in graph.all(node, "rdf:value", "bflc:locator", "rdfs:label")]
            notes = graph.texts(node, "bf:note")
            self._put("856", indicators, [*(("u", each) for each in sorted(addresses)), *(("z", each) for each in notes)])
        else:
            self._put("856", indicators, [("u", text_of(node))])

    def _item(self, item: str) -> None:
        graph = self.graph
        graph.types(item)
        for node in graph.all(item, "bf:electronicLocator"):
            self._locator(node, "40")
        holders = [self._code(each) for each in graph.all(item, "bf:heldBy")]
        places = [self._code(each) for each in graph.all(item, "bf:sublocation", "bf:physicalLocation")]
        marks = sorted(
            (SHELF_MARKS.get(next(iter(graph.types(each) & SHELF_MARKS.keys()), ""), " "), graph.label(each) or "")
            for each in graph.all(item, "bf:shelfMark")
            if each[0] != '"'
        )
        marks += [(" ", text_of(each)) for each in graph.all(item, "bf:shelfMark") if each[0] == '"']
        for each in [node for node in graph.all(item, "bf:shelfMark", "bf:heldBy") if node[0] != '"']:
            graph.all(each, "rdf:type", "bf:source")
        notes = graph.texts(item, "bf:note")
        for node in graph.all(item, "bf:note"):
            graph.types(node)
        self._put(
            "852",
            f"{marks[0][0] if marks else ' '} ",
            [
                *(("a", each) for each in sorted(holders)),
                *(("b", each) for each in sorted(places)),
                *(("h", mark) for _, mark in marks),
                *(("z", each) for each in notes),
            ],
            node=item,
        )
        barcodes = [
            text
            for node in graph.all(item, "bf:identifiedBy")
            if "bf:Barcode" in graph.types(node)
            for text in graph.texts(node, "rdf:value")
        ]
        barcodes += graph.texts(item, "bf:barcode")
        self._put(
            "876",
            "  ",
            [*(("p", each) for each in sorted(barcodes)), *(("3", each) for each in graph.texts(item, "bf:enumerationAndChronology"))],
            node=item,
        )
