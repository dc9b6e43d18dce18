"""RDF as nodes and their statements: what pyoxigraph parses, as the plain values that the BIBFRAME mapping works with.

Terms are the tokens of N-Triples: ``<iri>``, ``_:label``, and literals beginning with ``"``; a literal is unescaped when
somebody reads it. That is twice as fast as an object a term. Predicates have short names (``bf:title``) for the
vocabularies that BIBFRAME uses. A graph remembers what was asked of it, so that what nobody asked for can be counted.

Nothing is fetched: a JSON-LD context by reference cannot be resolved, and that is an error of the payload.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import pyoxigraph as ox

PREFIXES: Final = {
    "http://id.loc.gov/ontologies/bibframe/": "bf:",
    "http://id.loc.gov/ontologies/bflc/": "bflc:",
    "http://www.loc.gov/mads/rdf/v1#": "madsrdf:",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf:",
    "http://www.w3.org/2000/01/rdf-schema#": "rdfs:",
    "http://www.w3.org/2004/02/skos/core#": "skos:",
    "http://www.w3.org/2002/07/owl#": "owl:",
}
LABELS: Final = ("rdfs:label", "madsrdf:authoritativeLabel", "rdf:value", "bf:code", "skos:prefLabel")
BASE: Final = "http://record.invalid/"  # what relative references are resolved against: a reserved name
SYNTAXES: Final = {"xml": ox.RdfFormat.RDF_XML, "json": ox.RdfFormat.JSON_LD, "turtle": ox.RdfFormat.TRIG}
XML_START: Final = re.compile(rb"\A(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*<[?!A-Za-z][^>\s]*(?:\s|>)(?!\s*<)")
ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[tbnrf\"'\\])")
# Letters that are not Latin: beyond Latin Extended-B, without phonetic and modifier letters, marks and Latin Extended Additional.
OTHER_SCRIPT: Final = re.compile(
    "[\u0370-\u1dbf\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff\u3040-\ua71f\ua800-\uab2f\uab70-\ud7ff\uf900-\ufaff\ufb13-\ufdff\ufe70-\ufeff\uff66-\uffdc\U00010000-\U0001efff\U00020000-\U0003ffff]"
)
ESCAPED: Final = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
IRI_START: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<[a-z][a-z0-9+.-]*:[^<>\s\"=]*>\s", re.IGNORECASE)


def is_literal(term: str) -> bool:
    """Whether a term is a literal."""
    return term[0] == '"'


def text_of(term: str) -> str:
    """The text of a literal, without language and datatype; of an IRI, the IRI."""
    if term[0] == "<":
        return term[1:-1]
    if term[0] != '"':
        return ""
    text = term[1 : term.rindex('"')]
    return ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else ESCAPED[code]


_names: dict[str, str] = {}


def short(term: str) -> str:
    """``<http://id.loc.gov/ontologies/bibframe/title>`` -> ``bf:title``; an IRI of another vocabulary as it is."""
    name = _names.get(term)
    if name is None:
        iri = term[1:-1]
        plain = "http" + iri[5:] if iri.startswith("https://") else iri
        name = next((prefix + plain[len(start) :] for start, prefix in PREFIXES.items() if plain.startswith(start)), iri)
        if len(_names) < 10_000:  # a payload may invent names; memory stays bounded
            _names[term] = name
    return name


def _serialised(statements: Iterable[ox.Quad] | Iterable[ox.Triple]) -> str:
    written = ox.serialize(statements, format=ox.RdfFormat.N_TRIPLES)
    return written.decode() if written else ""


def syntax_of(payload: bytes) -> ox.RdfFormat:
    """The syntax of a payload by its beginning. TriG also reads Turtle, N-Triples and N-Quads."""
    text = payload[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"{" or (text[:1] == b"[" and b'"' in text[:200]):
        return SYNTAXES["json"]
    if text[:1] == b"<" and not IRI_START.match(payload[:4096]) and (b"rdf" in text or b"<?xml" in text[:6]):
        return SYNTAXES["xml"]
    return SYNTAXES["turtle"]


@lru_cache(maxsize=4096)
def classes(terms: tuple[str, ...]) -> frozenset[str]:
    """Short names of classes."""
    return frozenset(map(short, terms))


class Graph:
    """Nodes and their statements.

    ``load`` raises SyntaxError for what is not RDF, after keeping the statements before the fault.
    """

    __slots__ = ("asked", "classes", "statements")

    def __init__(self) -> None:
        self.statements: dict[str, dict[str, list[str]]] = {}
        self.classes: dict[str, list[str]] = {}
        self.asked: set[int] = set()  # identities of the lists of objects that were handed out

    def load(self, payload: bytes) -> Graph:
        """Add the statements of a payload."""
        syntax = syntax_of(payload)
        try:
            self.add(_serialised(ox.parse(payload, format=syntax, base_iri=BASE, lenient=True)))
        except (SyntaxError, ValueError) as error:
            kept: list[ox.Triple] = []
            try:  # again, one by one: what stands before the fault, and named graphs as if they were one
                for quad in ox.parse(payload, format=syntax, base_iri=BASE, lenient=True):
                    kept.append(ox.Triple(quad.subject, quad.predicate, quad.object))
            except (SyntaxError, ValueError):
                self.add(_serialised(kept))
                raise SyntaxError(str(error)) from error
            self.add(_serialised(kept))
        return self

    def add(self, lines: str) -> None:
        """Add statements in N-Triples, as pyoxigraph writes them."""
        statements = self.statements
        names = _names
        quoted = "<<" in lines
        for line in lines.split("\n"):
            if not line:
                continue
            subject, predicate, rest = line.split(" ", 2)
            value = rest[:-2]
            if quoted and (subject[:2] == "<<" or value[:2] == "<<"):
                continue  # a statement about a statement
            name = names.get(predicate) or short(predicate)
            properties = statements.get(subject)
            if properties is None:
                statements[subject] = {name: [value]}
            elif (values := properties.get(name)) is None:
                properties[name] = [value]
            elif value not in values:
                values.append(value)

    def all(self, node: str, *predicates: str) -> list[str]:
        """Objects of these predicates, and a note that they were asked for."""
        properties = self.statements.get(node)
        if properties is None:
            return []
        found: list[str] = []
        for predicate in predicates:
            values = properties.get(predicate)
            if values:
                self.asked.add(id(values))
                found = found + values if found else values
        return found

    def types(self, node: str) -> frozenset[str]:
        """Short names of the node's classes."""
        return classes(tuple(self.all(node, "rdf:type")))

    def of_type(self, name: str) -> tuple[str, ...]:
        """Nodes of a class, by its short name; to be called when all statements are there."""
        if not self.classes:
            for node, properties in self.statements.items():
                for term in properties.get("rdf:type", ()):
                    self.classes.setdefault(short(term), []).append(node)
        return tuple(self.classes.get(name, ()))

    def texts(self, node: str, *predicates: str) -> list[str]:
        """Texts of these predicates: literals, or the labels (else values, codes) of nodes; sorted, Latin script first."""
        values = self.all(node, *predicates)
        if not values:
            return []
        found = []
        for value in values:
            text = text_of(value) if value[0] == '"' else self.label(value)
            if text and (text := " ".join(text.split())):
                found.append(text)
        return sorted(dict.fromkeys(found), key=lambda text: (not latin(text), text)) if len(found) > 1 else found

    def text(self, node: str, *predicates: str) -> str | None:
        """The first of `texts`."""
        found = self.texts(node, *predicates)
        return found[0] if found else None

    def label(self, node: str) -> str | None:
        """What a node is called."""
        properties = self.statements.get(node)
        if properties is None:
            return None
        present = [predicate for predicate in LABELS if predicate in properties]
        self.asked.update([id(properties[predicate]) for predicate in present])
        for predicate in present:
            if literals := [text for value in properties[predicate] if value[0] == '"' and (text := text_of(value)).strip()]:
                return min(literals, key=lambda text: (not latin(text), text)) if len(literals) > 1 else literals[0]
        return None

    def members(self, node: str) -> list[str]:
        """Members of an rdf:List, at most 1,000: a list may be a circle."""
        found: list[str] = []
        nil = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#nil>"
        while node != nil and len(found) < 1000:
            first, rest = self.all(node, "rdf:first"), self.all(node, "rdf:rest")
            found += first[:1]
            if not rest:
                break
            node = rest[0]
        return found

    def unasked(self, roots: Iterable[str], stop: Iterable[str] = ()) -> Counter[str]:
        """Statements that nobody asked for, by predicate, on the nodes that asking led to. Classes are not counted.

        What hangs on such a statement is not counted again, and nodes of ``stop`` are not gone through.
        """
        counts: Counter[str] = Counter()
        seen = set(stop)
        waiting = [root for root in roots if root in self.statements]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            for predicate, values in self.statements[node].items():
                if id(values) in self.asked:
                    waiting += [value for value in values if value in self.statements]
                elif predicate != "rdf:type":
                    counts[predicate] += len(values)
        return counts

    def take(self, root: str, stop: Iterable[str] = ()) -> None:
        """Note everything below a node as asked for."""
        seen = set(stop)
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node in seen or node not in self.statements:
                continue
            seen.add(node)
            for values in self.statements[node].values():
                self.asked.add(id(values))
                waiting += values


def latin(text: str) -> bool:
    """Whether a text is written in Latin letters, or in none."""
    return text.isascii() or OTHER_SCRIPT.search(text) is None
