"""BIBFRAME 2.0: one canonical record per bf:Instance with its work and its items.

``rdf`` reads the graph, ``mapping`` makes the fields. RDF has no order, so fields are sorted: by tag, then by the number
that converters put into the names of nodes (``#Agent700-23``), then by content. The same graph in RDF/XML, Turtle or JSON-LD
gives the same record.

What is an instance of its own: every bf:Instance that no relation leads to. Converters write an instance more for every
856; it has no administrative metadata, and gets the control number of its work and its own name. What was not mapped
is counted by predicate in ``provenance["unmapped"]``, as JSON.

Source: BIBFRAME 2.0 vocabulary (Library of Congress, http://id.loc.gov/ontologies/bibframe/).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import pyoxigraph as ox

from flows.catalog.draft import natural
from flows.catalog.mapping import Mapping
from flows.catalog.model import BibRecord, Problem, Reading
from flows.catalog.rdf import BASE, Graph, syntax_of
from flows.catalog.vocabulary import MAPPED, NOT_MAPPED

Node = ox.NamedNode | ox.BlankNode | ox.Triple | ox.Literal
BIBFRAME: Final = "http://id.loc.gov/ontologies/bibframe/"
RDF_TYPE: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
BATCH: Final = 10_000  # statements stored at a time
LARGEST: Final = 1_000_000  # statements of one work: beyond it something links everything
NOT_MAPPED_HEAD: Final = ("## What is not mapped", "", "| Predicate | Why |", "|---|---|")
HEAD: Final = 4096  # bytes that tell the syntax


def read_one(payload: bytes, *, source: str, identifier: str, datestamp: str | None = None) -> Reading:
    """The record of the main instance of a payload."""
    return read_all(payload, source=source, identifier=identifier, datestamp=datestamp, first=True)[0]


def read_all(payload: bytes, *, source: str, identifier: str, datestamp: str | None = None, first: bool = False) -> tuple[Reading, ...]:
    """A reading per instance, the main one first (the one with its own control number, else with most statements)."""
    found: list[Problem] = []
    graph = Graph()
    try:
        graph.load(payload)
    except SyntaxError as error:
        found.append(Problem(kind="syntax", message=f"Not well-formed: {str(error)[:200]}"))
    instances = instances_of(graph)
    if not instances:
        found.append(Problem(kind="unreadable", message="There is no bf:Instance."))
        return (Reading(record=None, problems=tuple(found)),)
    if first and len(instances) > 1:
        found.append(
            Problem(kind="several-records", message=f"{len(instances) - 1} instances besides the main one are records of their own.")
        )
    readings = []
    main_number = ""
    for position, instance in enumerate(instances[:1] if first else instances):
        graph.asked.clear()
        mapping = Mapping(graph, instance, beside=main_number if position else None)
        leader, control, fields = mapping.fields()
        main_number = main_number or mapping.control_number
        if not fields:
            readings.append(Reading(record=None, problems=(*found, Problem(kind="unreadable", message="The instance has no statements."))))
            continue
        others = [each for each in instances if each != instance]
        left = graph.unasked([instance, *mapping.works, *mapping.items], stop=others)
        record = BibRecord(
            source=source,
            identifier=identifier if position == 0 else f"{identifier}#{mapping.control_number}",
            format="bibframe",
            leader=leader,
            control_fields=control,
            data_fields=fields,
            datestamp=datestamp,
            deleted=leader[5] == "d",
            derived=True,
            provenance={
                "reader": "bibframe",
                "encoding": "utf-8",
                "instance": instance.strip("<>"),
                "unmapped": json.dumps(dict(sorted(left.items())), separators=(",", ":")),
            },
        )
        readings.append(Reading(record=record, problems=tuple(found if position == 0 else found[:0])))
    return tuple(readings)


def instances_of(graph: Graph) -> list[str]:
    """The instances that are records, the main one first."""
    instances = list(graph.of_type("bf:Instance"))
    if len(instances) > 1:
        related = set()
        for properties in graph.statements.values():
            for resource in properties.get("bf:associatedResource", ()):
                related |= {resource, *graph.statements.get(resource, {}).get("bf:hasInstance", ())}
        own = [
            each for each in instances if each not in related and not related.intersection(graph.statements[each].get("bf:instanceOf", ()))
        ]
        instances = own or instances
    return sorted(
        instances, key=lambda each: ("bf:adminMetadata" not in graph.statements[each], -len(graph.statements[each]), natural(each))
    )


def payloads(stream: BinaryIO) -> Iterator[bytes]:
    """The works of a file (a stream that can seek), each with its instances and items and all that belongs to them, as sorted N-Triples.

    The file is first read into a store on disk, so that memory stays bounded. RDF has no records: what stands after a fault of
    syntax is lost, and a last payload, which nothing can be read from, says so. A payload is the same whatever the order of the
    file. A payload with several instances is for ``read_all``.
    """
    folder = tempfile.mkdtemp(prefix="windrow-rdf-")
    fault = ""
    try:
        store = ox.Store(folder)
        batch: list[ox.Quad] = []
        try:
            for quad in ox.parse(stream, format=_syntax(stream), base_iri=BASE, lenient=True):
                batch.append(ox.Quad(quad.subject, quad.predicate, quad.object))
                if len(batch) >= BATCH:
                    store.extend(batch)
                    batch.clear()
        except (SyntaxError, ValueError) as error:
            fault = str(error)
        store.extend(batch)
        for roots in _roots(store):
            yield _closure(store, roots)
        if fault:
            yield f"the file is not well-formed, what follows is lost: {fault[:200]}".encode()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _roots(store: ox.Store) -> Iterator[list[Node]]:
    """Instances of one work together; instances that a relation leads to belong to the record that has the relation."""
    instance_of, has_instance = ox.NamedNode(BIBFRAME + "instanceOf"), ox.NamedNode(BIBFRAME + "hasInstance")
    associated = ox.NamedNode(BIBFRAME + "associatedResource")
    met: set[str] = set()
    for quad in store.quads_for_pattern(None, ox.NamedNode(RDF_TYPE), ox.NamedNode(BIBFRAME + "Instance")):
        instance = quad.subject
        works = [each.object for each in store.quads_for_pattern(instance, instance_of, None)]
        works += [each.subject for each in store.quads_for_pattern(None, has_instance, instance)]
        if any(next(store.quads_for_pattern(None, associated, each), None) for each in [instance, *works]):
            continue
        name = min(map(str, works), default=str(instance))
        if name in met:
            continue
        met.add(name)
        yield [instance, *works]


def _closure(store: ox.Store, roots: list[Node]) -> bytes:
    """Everything that can be reached from these, and the items that point to their instances."""
    item_of, instance = ox.NamedNode(BIBFRAME + "itemOf"), ox.NamedNode(BIBFRAME + "instanceOf")
    dataset = ox.Dataset()
    waiting = list(roots)
    seen: set[Node] = set()
    while waiting and len(dataset) < LARGEST:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if not isinstance(node, ox.NamedNode | ox.BlankNode):
            continue
        for quad in store.quads_for_pattern(node, None, None):
            dataset.add(quad)
            if isinstance(quad.object, ox.NamedNode | ox.BlankNode):
                waiting.append(quad.object)
        for predicate in (item_of, instance):
            waiting += [quad.subject for quad in store.quads_for_pattern(None, predicate, node)]
    dataset.canonicalize(ox.CanonicalizationAlgorithm.RDFC_1_0)
    lines = sorted(f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in dataset)
    return "".join(lines).encode()


def _syntax(stream: BinaryIO) -> ox.RdfFormat:
    head = stream.read(HEAD)
    stream.seek(-len(head), 1)
    return syntax_of(head)


def unmapped(records: Iterable[BibRecord]) -> Counter[str]:
    """What the readers of these records did not map: statements by predicate."""
    total: Counter[str] = Counter()
    for record in records:
        total.update(json.loads(record.provenance.get("unmapped", "{}")))
    return total


def page() -> str:
    """The tables of docs/bibframe.md, in Markdown."""
    rows = [f"| `{predicate}` | {fields} |" for predicate, fields in sorted(MAPPED.items(), key=lambda row: row[0].lower())]
    others = [f"| `{predicate}` | {reason} |" for predicate, reason in sorted(NOT_MAPPED.items(), key=lambda row: row[0].lower())]
    return "\n".join(
        ["## What becomes of a predicate", "", "| Predicate | MARC 21 |", "|---|---|", *rows, "", *NOT_MAPPED_HEAD, *others, ""]
    )
