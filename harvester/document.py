"""A YAML file as places: every value knows its line and its path, so that a problem can be told where it stands.

The file is composed but never constructed: no tag runs code, ``no`` stays a word, ``0123`` keeps its nought and
``08:00`` is not a number of seconds. What a value means is decided by the key it stands under (`harvester.forms`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from harvester.problems import LONGEST_SHOWN, ConfigurationError, Problem, shortened
from harvester.secrets import SecretRef

LARGEST_FILE: Final = 16 * 2**20  # bytes: some 100,000 sources; parsing takes about 70 times as much memory
CORE_TAGS: Final = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge")


class Wrong(ValueError):
    """A value that cannot be used: what is wrong, and what is allowed."""

    def __init__(self, what: str, allowed: str) -> None:
        super().__init__(what, allowed)
        self.what = what
        self.allowed = allowed


class Document:
    """One file while it is read: the problems found so far and the secrets it refers to."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._problems: dict[Problem, None] = {}  # a set that keeps its order
        self.references: list[tuple[SecretRef, Place]] = []

    def report(self, path: str, line: int | None, what: str, allowed: str) -> None:
        """Notes a problem; the same problem once."""
        self._problems.setdefault(Problem(file=self.file, line=line, path=path, what=what, allowed=allowed))

    @property
    def problems(self) -> list[Problem]:
        """What is wrong so far, in the order of the lines."""
        return sorted(self._problems, key=lambda problem: problem.line or 0)

    def take_references(self) -> list[tuple[SecretRef, Place]]:
        """The secrets referred to since this was asked last."""
        taken, self.references = self.references, []
        return taken


class Place:
    """A value of the file, with its line (from 1) and its path."""

    __slots__ = ("document", "line", "path", "raw")

    def __init__(self, document: Document, raw: Any, path: str, line: int) -> None:
        self.document = document
        self.raw = raw
        self.path = path
        self.line = line

    def __repr__(self) -> str:
        return f"<Place {self.document.file}:{self.line}: {self.path}>"

    def report(self, what: str, allowed: str) -> None:
        """Notes a problem with this value."""
        self.document.report(self.path, self.line, what, allowed)

    @property
    def is_nothing(self) -> bool:
        """Is there no value, as in ``url:``?"""
        return isinstance(self.raw, ScalarNode) and _tag(self.raw) == "null" and not self.raw.value

    @property
    def is_null(self) -> bool:
        """Is it ``null`` or ``~``, or no value at all?"""
        return isinstance(self.raw, ScalarNode) and _tag(self.raw) == "null"

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.raw, MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self.raw, SequenceNode)

    def described(self) -> str:
        """What stands there, in words for people."""
        if self.is_mapping:
            return "a mapping"
        if self.is_list:
            return "a list"
        if self.is_null:
            return "nothing"
        return shortened(str(self.raw.value))

    def text(self, allowed: str) -> str:
        """The scalar as it is written. Wrong when it is nothing, a list or a mapping, or has a tag."""
        if self.is_null:
            raise Wrong("there is no value", allowed)
        if not isinstance(self.raw, ScalarNode):
            raise Wrong(f"{self.described()} cannot stand here", allowed)
        if _tag(self.raw) not in CORE_TAGS:
            raise Wrong(f"the tag {shortened(str(self.raw.tag))} is not read", allowed)
        return str(self.raw.value)

    def entries(self, allowed: str) -> Iterator[tuple[str, Place]]:
        """Name and value of each entry of a mapping. A name that comes twice is reported, and its first value is used."""
        if self.is_null:
            raise Wrong("there is nothing under it", allowed)
        if not isinstance(self.raw, MappingNode):  # a text is not repeated: it may be a header with its secret
            raise Wrong(f"{'a list' if self.is_list else 'a text'} cannot stand here", allowed)
        first: dict[str, int] = {}
        for key, value in self.raw.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or (_tag(key) == "null" and not key.value):
                self.document.report(self.path, line, "a name must be one word", allowed)
            elif _tag(key) == "merge":
                self.document.report(self.path, line, "merge keys (<<) are not read", "write what sources share under defaults:")
            elif key.value in first:
                self.document.report(
                    join(self.path, key.value), line, f"it stands already in line {first[key.value]}", "each name is allowed once"
                )
            else:
                first[key.value] = line
                yield key.value, Place(self.document, value, join(self.path, key.value), line)

    def items(self, allowed: str) -> Iterator[Place]:
        """The items of a list. Wrong when it is no list."""
        if not isinstance(self.raw, SequenceNode):
            raise Wrong(f"{self.described()} is not a list", allowed)
        for number, value in enumerate(self.raw.value):
            yield Place(self.document, value, f"{self.path}[{number}]", value.start_mark.line + 1)


def compose(path: Path, *, name: str | None = None) -> Place:
    """The root of the YAML file at `path`; ConfigurationError when it cannot be read as one YAML document.

    `name` is what problems call the file; by default `path` as it is given.
    """
    document = Document(name or str(path))
    text = _read(path, document)
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # an anchor that is used again means its last place; no reason to warn
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        raise _broken(document, mark.line + 1 if mark else None, f"not YAML: {why}") from None
    except YAMLError as error:
        # a character that YAML forbids: ruamel says at which position, not in which line
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        raise _broken(document, line, f"not YAML: {getattr(error, 'reason', 'it cannot be read')}") from None
    except RecursionError:
        raise _broken(document, None, "lists or mappings are nested too deeply") from None
    except (ValueError, OverflowError, IndexError, AttributeError, TypeError, KeyError, AssertionError) as error:
        # ruamel lets some malformed escapes and directives surface as Python's own errors
        raise _broken(document, None, f"not YAML: {type(error).__name__}") from None
    if root is None:
        raise _broken(document, 1, "the file is empty")
    return Place(document, root, "", root.start_mark.line + 1)


def join(path: str, name: str) -> str:
    """The path of `name` under `path`."""
    written = name if name.isprintable() and len(name) <= LONGEST_SHOWN else shortened(name)
    return f"{path}.{written}" if path else written


def _read(path: Path, document: Document) -> str:
    hint = "name a file such as the example sources.yaml; WINDROW_SOURCES says which one is read"
    try:
        with path.open("rb") as stream:
            body = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise _broken(document, None, "there is no such file", hint) from None
    except IsADirectoryError:
        raise _broken(document, None, "it is a directory", hint) from None
    except (OSError, ValueError) as error:
        raise _broken(document, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}", hint) from None
    if len(body) > LARGEST_FILE:
        raise _broken(document, None, "it is too large", f"allowed: at most {LARGEST_FILE // 2**20} MiB")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise _broken(document, line, f"byte 0x{body[error.start]:02x} is not UTF-8", "save the file as UTF-8") from None


def _broken(document: Document, line: int | None, what: str, allowed: str = "") -> ConfigurationError:
    expected = allowed or "allowed: one YAML document with sources: and, if wanted, groups: and defaults:"
    document.report("", line, what, expected)
    return ConfigurationError(document.problems)


def _tag(node: Any) -> str:
    return str(node.tag or "").removeprefix("tag:yaml.org,2002:")
