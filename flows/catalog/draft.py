"""The draft of a record: fields of one bf:Instance as they are found, put into order at the end.

What the mappings share: exact headings from ``bflc:marcKey``, texts in two scripts, sort keys, titles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Final

from flows.catalog.model import DataField, Subfield, data_field
from flows.catalog.rdf import Graph, latin, text_of

Parts = Sequence[tuple[str, str | None]]  # subfields; None means that there is none

KEY: Final = re.compile(r"\A(\d{3})([ \d#|])([ \d#|])\$", re.ASCII)
KEY_SUBFIELD: Final = re.compile(r"\$([a-z0-9])", re.ASCII)
NUMBERED: Final = re.compile(r"(\d{3})-(\d{1,6})>\Z", re.ASCII)


def natural(term: str) -> tuple[int, int, str]:
    """A sort key for a term: converters number their nodes in the order of the record (``#Agent700-23``)."""
    match = NUMBERED.search(term[-12:])
    return (0, int(match[2]), "") if match else (1, 0, term if term[0] == "<" else "")


@lru_cache(maxsize=4096)
def local(term: str) -> str:
    """The last part of an IRI, unescaped where it stands for a code; empty for other terms."""
    return term[1:-1].rstrip("/").replace("#", "/").rpartition("/")[2].replace("%7C", "|") if term[0] == "<" else ""


class Draft:
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

    def _code(self, node: str) -> str:
        """The code of an agency or scheme."""
        if node[0] == '"':
            return text_of(node)
        codes = self.graph.texts(node, "bf:code")
        return codes[0] if codes else (self.graph.label(node) or local(node))

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


def joined_title(parts: Parts) -> str | None:
    """A title's parts as one text."""
    return ". ".join(text for _, text in parts if text) or None


def _field(tag: str, indicators: str, parts: Parts) -> DataField | None:
    kept = [Subfield(code, value.strip() if tag != "010" else value) for code, value in parts if value and not value.isspace()]
    for code, _ in kept:
        if code not in "0126":  # a field of links and sources alone says nothing
            return data_field(tag, indicators[0], indicators[1], tuple(kept))
    return None


def _linked(field: DataField, link: str) -> DataField:
    return DataField(tag=field.tag, ind1=field.ind1, ind2=field.ind2, subfields=(Subfield("6", link), *field.subfields))
