"""Headings: contributors, titles, subjects and related resources of a bf:Instance and its work.

The exact heading of ``bflc:marcKey`` is taken where it is; labels otherwise.
"""

from __future__ import annotations

import re
from typing import Final

from flows.catalog.draft import Draft, Parts, joined_title, key_field, local, natural, paired_scripts
from flows.catalog.rdf import latin, text_of
from flows.catalog.vocabulary import RELATIONSHIPS, SCHEME_INDICATORS, SCHEMES, SERIES, SUBDIVISIONS, SUBJECTS

AUTHORITIES: Final = re.compile(
    r"\Ahttps?://(?:id\.loc\.gov/(?:authorities|rwo)/|viaf\.org/|isni\.org/|(?:www\.)?wikidata\.org/|d-nb\.info/|id\.worldcat\.org/)"
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


class Headings(Draft):
    """A draft that knows how to make headings."""

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
                self._put("246", f"3{ind2}", [("i", graph.text(node, "bf:note")), *latin_parts], other=other_parts)
        self._uniform_title()

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
            graph.take(node, stop=self.nodes)
            return
        names = [field for field in map(key_field, keys) if field and field.tag != "880"]
        first = (
            next((field for each in sorted(graph.all(components[0], "bflc:marcKey")) if (field := key_field(text_of(each)))), None)
            if components
            else None
        )
        heading: list[tuple[str, str | None]]
        if names and not components:
            heading = list(names[0].subfields)
            tag, ind1 = f"6{names[0].tag[1:]}", names[0].ind1
        else:
            parts = [graph.label(each) for each in components] or [label]
            codes = ["a", *(next((code for name, code in SUBDIVISIONS.items() if name in each), "x") for each in kinds[1:])]
            heading = list(zip(codes, parts, strict=True))
            ind1 = {"600": "1" if "," in (parts[0] or "") else "0", "610": "2", "611": "2", "630": "0"}.get(tag, " ")
            if first is not None and first.tag[0] == "6" and first.tag != "680":
                tag, ind1 = first.tag, first.ind1
                exact: list[tuple[str, str | None]] = [(code, value) for code, value in first.subfields if code not in "02"]
                heading = exact if any(code in "vxyz" for code, _ in exact) else [*exact, *heading[1:]]
        for each in components:
            graph.take(each, stop=self.nodes)
        others = [each for each in graph.texts(node, "rdfs:label") if not latin(each)] if label and latin(label) else []
        self._put(
            tag,
            ind1 + ind2,
            [*heading, *tail],
            node=node,
            other=[("a", others[0]), ("2", scheme if ind2 == "7" else None)] if others else (),
        )

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
                    [("a", joined_title(main)), ("x", self._number(resource, "bf:Issn")), *(("v", text) for text, _ in pairs)],
                    other=[("a", joined_title(other)), *(("v", text) for _, text in pairs if text)] if other else (),
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
                ("t", joined_title(titles[0][0]) if titles else graph.label(resource)),
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
