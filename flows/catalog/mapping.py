"""From the statements about a bf:Instance, its work and its items to fields in MARC 21 shape.

The exact heading of ``bflc:marcKey`` is taken where it is; labels otherwise. Where a text stands in two scripts, the one
in Latin letters is the field and the other its 880. Texts get no ISBD punctuation: leader/18 says ``c`` where the
conventions say nothing else. ``vocabulary`` has the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Final

from flows.catalog.model import ControlField, DataField, Subfield, data_field
from flows.catalog.rdf import Graph, latin, text_of
from flows.catalog.vocabulary import (
    CLASSIFICATIONS,
    IDENTIFIERS,
    ISSUANCE,
    MANUSCRIPT,
    NOTES,
    PROVISIONS,
    RECORD_TYPES,
    RELATIONSHIPS,
    SCHEME_INDICATORS,
    SCHEMES,
    SERIES,
    SHELF_MARKS,
    SUBDIVISIONS,
    SUBJECTS,
)

Parts = Sequence[tuple[str, str | None]]  # subfields; None means that there is none

KEY: Final = re.compile(r"\A(\d{3})([ \d#|])([ \d#|])\$", re.ASCII)
KEY_SUBFIELD: Final = re.compile(r"\$([a-z0-9])", re.ASCII)
NUMBERED: Final = re.compile(r"(\d{3})-(\d{1,6})>\Z", re.ASCII)
DATE_TIME: Final = re.compile(r"\A(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d))?", re.ASCII)
EDTF_YEAR: Final = re.compile(r"(?<![\dX])(\d[\dXxu]{3})(?![\dX])", re.ASCII)
INTERNAL_040: Final = re.compile(r"\A040\s*(\$.*)", re.DOTALL)
AUTHORITIES: Final = re.compile(
    r"\Ahttps?://(?:id\.loc\.gov/(?:authorities|rwo)/|viaf\.org/|isni\.org/|(?:www\.)?wikidata\.org/|d-nb\.info/|id\.worldcat\.org/)"
)
LANGUAGE_PARTS: Final = {
    "summary": "b", "abstract": "b", "libretto": "e", "table of contents": "f", "accompanying": "g", "original": "h", "subtitle": "j",
    "caption": "j",
}  # fmt: skip
BLANK_008: Final = "|" * 17


def natural(term: str) -> tuple[int, int, str]:
    """A sort key for a term: converters number their nodes in the order of the record (``#Agent700-23``)."""
    match = NUMBERED.search(term[-12:])
    return (0, int(match[2]), "") if match else (1, 0, term if term[0] == "<" else "")


@lru_cache(maxsize=4096)
def local(term: str) -> str:
    """The last part of an IRI, unescaped where it stands for a code; empty for other terms."""
    return term[1:-1].rstrip("/").replace("#", "/").rpartition("/")[2].replace("%7C", "|") if term[0] == "<" else ""


class Mapping:
    """The fields of one instance. ``works`` and ``items`` are the nodes that belong to it.

    ``beside`` is the control number of the main instance, when this is another one.
    """

    def __init__(self, graph: Graph, instance: str, *, beside: str | None = None) -> None:
        self.graph = graph
        self.instance = instance
        self.beside = beside
        self.works = sorted(
            {
                *(each for each in graph.all(instance, "bf:instanceOf")),
                *(each for each in graph.of_type("bf:Work") if instance in graph.all(each, "bf:hasInstance")),
            },
            key=natural,
        )
        self.works = [each for each in self.works if each in graph.statements]
        self.items = sorted(
            {*graph.all(instance, "bf:hasItem"), *(each for each in graph.of_type("bf:Item") if instance in graph.all(each, "bf:itemOf"))}
        )
        self.nodes = [instance, *self.works]
        self.control_number = ""
        self._fields: list[tuple[str, tuple[int, int, str], DataField, DataField | None]] = []
        self._control: dict[str, str] = {}
        self._leader = list("00000nam a2200000 c 4500")
        self._leader[9] = "a"
        self._primary = False

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

    # ------------------------------------------------------------------ making fields

    def _put(self, tag: str, indicators: str, parts: Parts, *, node: str = "", other: Parts = ()) -> None:
        """A field, if any of its subfields has a text; ``other`` are those of its 880."""
        field = _field(tag, indicators, parts)
        if field is None:
            return
        paired = _field("880", indicators, other) if other else None
        if paired is not None and paired.subfields == field.subfields:
            paired = None
        self._fields.append((tag, natural(node) if node else (1, 0, ""), field, paired))

    def _put_texts(self, tag: str, indicators: str, code: str, texts: Iterable[str], *, node: str = "") -> None:
        """A field per text; a text in another script that follows one in Latin letters is its 880."""
        for first, second in paired_scripts(list(texts)):
            self._put(tag, indicators, [(code, first)], node=node, other=[(code, second)] if second else ())

    def _put_key(self, keys: Sequence[str], tag: str | None, extra: Parts, *, node: str) -> bool:
        """The exact field of a marcKey (and its 880), under another tag when one is given; False when no key can be read."""
        parsed = [each for each in map(key_field, keys) if each is not None]
        main = next((each for each in parsed if each.tag != "880"), None)
        if main is None:
            return False
        other = next((each for each in parsed if each.tag == "880"), None)
        self._put(
            tag or main.tag,
            main.ind1 + main.ind2,
            [*main.subfields, *((code, value) for code, value in extra if value and value not in main.values(code))],
            node=node,
            other=other.subfields if other else (),
        )
        return True

    def _sorted(self) -> tuple[DataField, ...]:
        ordered = sorted(self._fields, key=lambda each: (each[0], each[1], each[2].ind1, each[2].ind2, each[2].subfields))
        fields: list[DataField] = []
        linked: list[DataField] = []
        seen: set[DataField] = set()
        for _, _, field, other in ordered:
            if field in seen:
                continue
            seen.add(field)
            if other is None:
                fields.append(field)
                continue
            number = f"{len(linked) + 1:02d}"
            fields.append(_linked(field, f"880-{number}"))
            linked.append(_linked(other, f"{field.tag}-{number}"))
        return (*fields, *linked)

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

    def _code(self, node: str) -> str:
        """The code of an agency or scheme."""
        if node[0] == '"':
            return text_of(node)
        codes = self.graph.texts(node, "bf:code")
        return codes[0] if codes else (self.graph.label(node) or local(node))

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

    # ------------------------------------------------------------------ names and titles

    def _contributions(self) -> None:
        graph = self.graph
        for node in self.nodes:
            for contribution in sorted(graph.all(node, "bf:contribution"), key=self._order):
                types = graph.types(contribution)
                primary = bool(types & {"bf:PrimaryContribution", "bflc:PrimaryContribution"}) and not self._primary
                for agent in sorted(graph.all(contribution, "bf:agent"), key=natural):
                    tag = f"{'1' if primary else '7'}{self._name_tag(agent)}"
                    roles = self._roles(contribution)
                    identifiers = (
                        [("1" if "/rwo/" in agent or "wikidata" in agent else "0", agent[1:-1])] if AUTHORITIES.match(agent[1:]) else []
                    )
                    keys = sorted(text_of(each) for each in graph.all(agent, "bflc:marcKey"))
                    has_role = any(re.search(r"\$[e4j]", key) for key in keys)
                    parts: Parts = [*([] if has_role else roles), *identifiers]
                    if any(key_field(key) for key in keys):
                        key = next(field for field in map(key_field, keys) if field)
                        tag = tag[0] + (key.tag[1:] if key.tag[0] in "17" else tag[1:])
                        graph.texts(agent, "rdfs:label")
                    if not self._put_key(keys, tag, parts, node=agent):
                        names = graph.texts(agent, "rdfs:label") or [graph.label(agent) or ""]
                        for name, other in paired_scripts(names)[:1]:
                            ind1 = ("1" if "," in name else "0") if tag.endswith("00") else "2"
                            self._put(tag, f"{ind1} ", [("a", name), *parts], node=agent, other=[("a", other)] if other else ())
                    self._primary = self._primary or primary

    def _order(self, contribution: str) -> tuple[tuple[int, int, str], str]:
        """The same order whatever the order of the payload."""
        agents = sorted(self.graph.all(contribution, "bf:agent"), key=natural)
        first = agents[0] if agents else contribution
        return natural(first), (text_of(first) if first[0] == '"' else self.graph.label(first)) or ""

    def _name_tag(self, agent: str) -> str:
        if agent[0] == '"':
            return "00"
        types = self.graph.types(agent)
        return "11" if "bf:Meeting" in types else "10" if types & {"bf:Organization", "bf:Jurisdiction"} else "00"

    def _roles(self, contribution: str) -> list[tuple[str, str | None]]:
        graph = self.graph
        found: list[tuple[str, str | None]] = []
        for role in graph.all(contribution, "bf:role"):
            label = text_of(role) if role[0] == '"' else graph.label(role)
            if "/vocabulary/relators/" in role:
                found.append(("4", local(role)))
            elif label:
                found.append(("e", label))
        return sorted(found, key=lambda each: (each[0] == "4", each[1] or ""))

    def _titles(self) -> None:
        graph = self.graph
        of_instance = self._title_nodes(self.instance)
        of_works = [each for work in self.works for each in self._title_nodes(work)]
        proper = [each for each in of_instance if not graph.types(each) & VARIANTS] or [
            each for each in of_works if not graph.types(each) & VARIANTS
        ]
        first = True
        for node in proper:
            skip = graph.text(node, "bflc:nonSortNum") or "0"
            statement = paired_scripts(graph.texts(self.instance, "bf:responsibilityStatement")) if first else []
            latin_parts, other_parts = self._title_parts(node)
            if first:
                indicators = ("1" if self._primary else "0") + (skip if len(skip) == 1 and skip.isdigit() else "0")
                responsibility = [("c", text) for text, _ in statement[:1]]
                other = [*other_parts, *(("c", text) for _, text in statement[:1] if text)] if other_parts else []
                self._put("245", indicators, [*latin_parts, *responsibility], other=other)
                first = not latin_parts
            else:
                self._put("246", "33", latin_parts, other=other_parts)
        main = {field.first("a") for tag, _, field, _ in self._fields if tag == "245"}
        for node in [*of_instance, *of_works]:
            types = graph.types(node)
            graph.all(node, "bflc:nonSortNum")
            latin_parts, other_parts = self._title_parts(node)
            if not types & VARIANTS:
                text = dict(latin_parts).get("a")
                if (
                    node in of_works
                    and node not in proper
                    and text not in main
                    and not any(graph.all(work, "bf:expressionOf") for work in self.works)
                ):
                    self._put("240" if self._primary else "130", "10" if self._primary else "0 ", latin_parts)
                continue
            if "bf:KeyTitle" in types:
                self._put("222", " 0", [*latin_parts[:1], ("b", graph.text(node, "bf:qualifier"))], other=other_parts)
            elif "bf:AbbreviatedTitle" in types:
                self._put("210", "0 ", [*latin_parts[:1], ("b", graph.text(node, "bf:qualifier"))], other=other_parts)
            elif "bf:CollectiveTitle" in types:
                self._put("243", "10", latin_parts, other=other_parts)
            else:
                kind = (graph.text(node, "bf:variantType") or "").lower()
                ind2 = "1" if "bf:ParallelTitle" in types else VARIANT_TYPES.get(kind, " ")
                self._put("246", f"3{ind2}", latin_parts, other=other_parts)
        self._uniform_title()

    def _title_nodes(self, node: str) -> list[str]:
        """Titles, in an order that does not depend on the order of the payload."""
        return sorted(self.graph.all(node, "bf:title"), key=lambda each: self.graph.texts(each, "bf:mainTitle", "rdfs:label"))

    def _title_parts(self, node: str) -> tuple[list[tuple[str, str | None]], list[tuple[str, str | None]]]:
        graph = self.graph
        main: list[tuple[str, str | None]] = []
        other: list[tuple[str, str | None]] = []
        for code, predicate in (("a", "bf:mainTitle"), ("b", "bf:subtitle"), ("n", "bf:partNumber"), ("p", "bf:partName")):
            texts = graph.texts(node, predicate) or (graph.texts(node, "rdfs:label") if code == "a" else [])
            for first, second in paired_scripts(texts):
                main.append((code, first))
                if second:
                    other.append((code, second))
        graph.texts(node, "rdfs:label")
        return main, other

    def _uniform_title(self) -> None:
        graph = self.graph
        for hub in sorted((each for work in self.works for each in graph.all(work, "bf:expressionOf")), key=natural):
            keys = [field for each in sorted(graph.all(hub, "bflc:marcKey")) if (field := key_field(text_of(each))) and field.tag != "880"]
            if keys:
                graph_fields = keys[0].subfields
                codes = [code for code, _ in graph_fields]
                if "t" in codes:
                    at = codes.index("t")
                    parts = [("a", graph_fields[at].value), *((code, value) for code, value in graph_fields[at + 1 :])]
                    self._put("240", "10", parts, node=hub)
                else:
                    self._put("240" if self._primary else "130", "10" if self._primary else "0 ", graph_fields, node=hub)
                graph.take(hub, stop=self.nodes)
            else:
                for title in self._title_nodes(hub):
                    self._put("240" if self._primary else "130", "10" if self._primary else "0 ", self._title_parts(title)[0], node=hub)
                graph.take(hub, stop=self.nodes)

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
        statements = graph.texts(self.instance, "bf:publicationStatement")
        written = any(simple for *_, simple in made)
        for kind, shown, hidden, simple in made:
            if simple or not written:  # beside what was transcribed, an activity without it only repeats the codes of 008
                self._put("264", f" {kind}", shown, other=hidden)
        if not made and statements:
            self._put("264", " 1", [("b", statements[0])])
        self._put_texts("264", " 4", "c", graph.texts(self.instance, "bf:copyrightDate"))
        self._fixed(years, country)

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
            self._put_texts("310", "  ", "a", graph.texts(node, "bf:frequency"))
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

    # ------------------------------------------------------------------ subjects and classification

    def _subjects(self) -> None:
        graph = self.graph
        for owner in self.nodes:
            for node in graph.all(owner, "bf:subject"):
                self._subject(node, "650")
            for node in graph.all(owner, "bf:genreForm"):
                self._subject(node, "655")
            for node in graph.all(owner, "bf:geographicCoverage"):
                code = local(node)
                label = text_of(node) if node[0] == '"' else graph.label(node)
                if "/geographicAreas/" in node:
                    self._put("043", "  ", [("a", f"{code:-<7}")])
                else:
                    self._put("522", "  ", [("a", label)])
                graph.types(node)

    def _subject(self, node: str, default: str) -> None:
        graph = self.graph
        if node[0] == '"':
            self._put("653" if default == "650" else "655", "  " if default == "650" else " 4", [("a", text_of(node))])
            return
        types = graph.types(node)
        scheme = None
        for each in sorted(graph.all(node, "bf:source", "madsrdf:isMemberOfMADSScheme")):
            scheme = (
                scheme
                or SCHEMES.get(each[1:-1] if each[0] == "<" else "")
                or (self._code(each) if each[0] != "<" or graph.statements.get(each) else local(each))
            )
        authority = node[1:-1] if AUTHORITIES.match(node[1:]) else None
        if scheme is None and authority and "/authorities/" in authority:
            scheme = SCHEMES.get(authority.rpartition("/")[0])
        label = graph.label(node)
        lists = graph.all(node, "madsrdf:componentList")
        keys = sorted(text_of(each) for each in graph.all(node, "bflc:marcKey"))
        components = graph.members(min(lists)) if lists else []
        kinds = [graph.types(each) for each in components]
        tag = default
        if default == "650":
            # A complex subject is a bf:Topic to converters, whatever its first part is.
            classes = kinds[0] if kinds else types
            named = [name for name in SUBJECTS if name in classes]
            tag = SUBJECTS[named[0]] if named else "650"
        ind2 = SCHEME_INDICATORS.get(scheme or "", "7" if scheme else "4") if tag != "655" or scheme != "lcsh" else "7"
        if tag == "655" and scheme == "naf":
            ind2 = "7"
        tail: Parts = [("0", authority), ("2", scheme if ind2 == "7" else None)]
        if any(field.tag[0] == "6" for field in map(key_field, keys) if field) and self._put_key(keys, None, [("0", authority)], node=node):
            return
        names = [field for field in map(key_field, keys) if field and field.tag != "880"]
        heading: list[tuple[str, str | None]]
        if names and not components:
            heading = list(names[0].subfields)
            tag, ind1 = f"6{names[0].tag[1:]}", names[0].ind1
        else:
            parts = [graph.label(each) for each in components] or [label]
            codes = ["a", *(next((code for name, code in SUBDIVISIONS.items() if name in each), "x") for each in kinds[1:])]
            heading = list(zip(codes, parts, strict=True))
            ind1 = {"600": "1" if "," in (parts[0] or "") else "0", "610": "2", "611": "2", "630": "0"}.get(tag, " ")
        others = [each for each in graph.texts(node, "rdfs:label") if not latin(each)] if label and latin(label) else []
        self._put(
            tag,
            ind1 + ind2,
            [*heading, *tail],
            node=node,
            other=[("a", others[0]), ("2", scheme if ind2 == "7" else None)] if others else (),
        )

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
                by_library = "0" if "dlc" in assigners or ("dnlm" in assigners and tag == "060") else "4"
                indicators = {
                    "050": f" {by_library}",
                    "060": f" {by_library}",
                    "082": ("1" if edition == "abridged" else "0") + by_library,
                }.get(tag, "  ")
                portions: Parts = [("a", each) for each in graph.texts(node, "bf:classificationPortion")] or [("a", graph.label(node))]
                scheme = source if tag in ("080", "082", "084", "086") else None
                self._put(tag, indicators, [*portions, ("b", graph.text(node, "bf:itemPortion")), ("2", scheme)])

    # ------------------------------------------------------------------ relations

    def _relations(self) -> None:
        graph = self.graph
        for owner in self.nodes:
            for relation in graph.all(owner, "bf:relation"):
                graph.types(relation)
                kinds = graph.all(relation, "bf:relationship")
                names = {local(each).lower() for each in kinds if each[0] == "<"}
                labels = sorted(filter(None, (text_of(each) if each[0] == '"' else graph.label(each) for each in kinds)))
                numbers = graph.texts(relation, "bf:seriesEnumeration")
                for resource in graph.all(relation, "bf:associatedResource"):
                    self._relation(resource, names, labels[0] if labels else None, numbers)

    def _relation(self, resource: str, names: set[str], label: str | None, numbers: list[str]) -> None:
        graph = self.graph
        if resource[0] == '"':
            self._put("787", "08", [("i", label), ("t", text_of(resource))])
            return
        types = graph.types(resource)
        series = bool(names & SERIES) or "bf:Series" in types
        keys = sorted(text_of(each) for each in graph.all(resource, "bflc:marcKey"))
        if any(key_field(key) for key in keys):
            tag = next(field.tag for field in map(key_field, keys) if field)
            volume = [("v", text) for text, _ in paired_scripts(numbers)] if tag[0] == "8" else []
            if self._put_key(keys, None, volume, node=resource):
                graph.take(resource, stop=self.nodes)
                return
        titles = [part for title in self._title_nodes(resource) for part in [self._title_parts(title)]]
        if series:
            traced = {local(each) for each in graph.all(resource, "bf:status")}
            for status in graph.all(resource, "bf:status"):
                graph.label(status)
            pairs = paired_scripts(numbers)
            for main, other in titles[:1]:
                self._put(
                    "490",
                    "1 " if "tr" in traced else "0 ",
                    [("a", _title(main)), ("x", self._number(resource, "bf:Issn")), *(("v", text) for text, _ in pairs)],
                    other=[("a", _title(other)), *(("v", text) for _, text in pairs if text)] if other else (),
                )
            return
        tag = next((RELATIONSHIPS[each] for each in sorted(names) if each in RELATIONSHIPS), "787")
        instances = [each for each in graph.all(resource, "bf:hasInstance") if each in graph.statements] or [resource]
        about = [resource, *instances]
        for each in about:
            graph.all(each, "rdf:type", "bf:instanceOf")
            for title in graph.all(each, "bf:title"):
                graph.take(title)
        agents = sorted(
            filter(
                None,
                (
                    graph.text(agent, "rdfs:label")
                    for each in about
                    for node in graph.all(each, "bf:contribution")
                    for agent in graph.all(node, "bf:agent")
                    if agent[0] != '"'
                ),
            )
        )
        qualifier = next((text for title in self._title_nodes(resource) for text in graph.texts(title, "bf:qualifier")), None)
        linked = sorted({text for each in about for text in self._control_numbers(each)})
        statements = [text for each in about for text in graph.texts(each, "bf:provisionActivityStatement", "bf:publicationStatement")]
        notes = sorted({text for each in about for text in graph.texts(each, "bf:note")})
        self._put(
            tag,
            "08" if tag == "787" else "00" if tag in ("780", "785") else "0 ",
            [
                ("i", label if tag == "787" else None),
                ("a", agents[0] if agents else None),
                ("t", _title(titles[0][0]) if titles else graph.label(resource)),
                ("c", qualifier),
                *(("d", each) for each in statements[:1]),
                *(("n", each) for each in notes),
                *(("w", each) for each in linked),
                ("x", next(filter(None, (self._number(each, "bf:Issn") for each in about)), None)),
                ("z", next(filter(None, (self._number(each, "bf:Isbn") for each in about)), None)),
            ],
            node=resource,
        )

    def _control_numbers(self, owner: str) -> list[str]:
        graph = self.graph
        found = []
        for node in graph.all(owner, "bf:identifiedBy"):
            types = graph.types(node)
            value = graph.text(node, "rdf:value")
            if value and not types & {"bf:Isbn", "bf:Issn"}:
                agency = (
                    "DLC"
                    if "bf:Lccn" in types
                    else "OCoLC"
                    if "bf:OclcNumber" in types
                    else min((self._code(each) for each in graph.all(node, "bf:assigner")), default="")
                )
                for assigner in graph.all(node, "bf:assigner"):
                    self._code(assigner)
                found.append(f"({agency}){value}" if agency else value)
        return found

    def _number(self, owner: str, kind: str) -> str | None:
        graph = self.graph
        values = [graph.text(node, "rdf:value") for node in graph.all(owner, "bf:identifiedBy") if kind in graph.types(node)]
        return min(filter(None, values), default=None)

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


VARIANTS: Final = frozenset(
    {
        "bf:VariantTitle",
        "bf:ParallelTitle",
        "bf:KeyTitle",
        "bf:AbbreviatedTitle",
        "bf:CollectiveTitle",
        "bf:TransliteratedTitle",
        "bflc:TransliteratedTitle",
    }
)
VARIANT_TYPES: Final = {
    "portion": "0",
    "distinctive": "2",
    "cover": "4",
    "added title page": "5",
    "caption": "6",
    "running": "7",
    "spine": "8",
}
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


@lru_cache(maxsize=256)
def key_field(key: str) -> DataField | None:
    """The field of a bflc:marcKey such as ``1001 $aCrumley, James,$d1939-2008.``; links to 880 are left out."""
    match = KEY.match(key)
    if match is None:
        return None
    parts = KEY_SUBFIELD.split(key[match.end() - 1 :])
    subfields = tuple(Subfield(code, value) for code, value in zip(parts[1::2], parts[2::2], strict=True) if code != "6" and value)
    return (
        DataField(tag=match[1], ind1=match[2].replace("#", " "), ind2=match[3].replace("#", " "), subfields=subfields)
        if subfields
        else None
    )


def paired_scripts(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """Each text in Latin letters with one in another script, as far as there are any; what is left over stands alone."""
    if len(texts) == 1:
        return [(texts[0], None)]
    first = [each for each in texts if latin(each)]
    second = [each for each in texts if not latin(each)]
    if not first:
        return [(each, None) for each in second]
    return [(main, other) if main is not None else (other or "", None) for main, other in zip_longest(first, second)]


def _title(parts: Parts) -> str | None:
    return ". ".join(text for _, text in parts if text) or None


def _field(tag: str, indicators: str, parts: Parts) -> DataField | None:
    kept = [Subfield(code, value.strip() if tag != "010" else value) for code, value in parts if value and not value.isspace()]
    for code, _ in kept:
        if code not in "0126":  # a field of links and sources alone says nothing
            return data_field(tag, indicators[0], indicators[1], tuple(kept))
    return None


def _linked(field: DataField, link: str) -> DataField:
    return DataField(tag=field.tag, ind1=field.ind1, ind2=field.ind2, subfields=(Subfield("6", link), *field.subfields))
