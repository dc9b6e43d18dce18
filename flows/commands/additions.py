"""Writing a source into ``sources.yaml`` without disturbing what people wrote there.

Lines are inserted as text behind the last source, so that comments, order, quotation marks and line ends stay as they
are. The result is read again before it replaces the file: unless it holds exactly the sources of before and the new
one, nothing is written.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from flows.commands.output import one_line
from harvester.configuration import load
from harvester.document import Place, compose
from harvester.problems import ConfigurationError, Problem
from harvester.settings import Settings
from harvester.sources import Configuration, Source

Value = str | Sequence[str] | Mapping[str, str]

PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./:?=&+~-]*(?<!:)")  # what YAML reads as a text without quotation marks
NOT_PLAIN: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})  # for readers of YAML 1.1 too
STEP: Final = 2  # columns of indentation, where the file shows none of its own


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """A source to be written."""

    name: str
    """Its name."""
    keys: Mapping[str, Value]
    """Its keys and their values, in the order in which they are written."""
    comment: str = ""
    """What stands above it, such as the name of the library."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The file as it would be, not written yet."""

    path: Path
    """The file, behind any symbolic link."""
    before: bytes | None
    """Its content when the draft was made; None when there was no file."""
    after: bytes
    """Its content with the addition."""
    lines: tuple[str, ...]
    """The lines that are new."""
    configuration: Configuration
    """What the content with the addition says."""
    source: Source
    """The addition as it was read from it."""

    def write(self) -> None:
        """Replaces the file in one step. ConfigurationError when somebody changed it since the draft was made, or it cannot be written."""
        if _content(self.path) != self.before:
            raise _refused(self.path, "the file was changed in the meantime", "run the command again")
        copy: Path | None = None
        try:
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            copy = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(self.after)
                stream.flush()
                os.fsync(stream.fileno())
            copy.chmod(self.path.stat().st_mode & 0o7777 if self.before is not None else 0o644)
            copy.replace(self.path)
        except OSError as error:
            hint = "make its folder writable, or write the lines by hand; --dry-run prints them"
            raise _refused(self.path, f"it cannot be written: {error.strerror}", hint) from None
        finally:
            if copy is not None:
                copy.unlink(missing_ok=True)  # after a success it is not there any more


def draft(path: Path, addition: Addition, settings: Settings) -> Draft:
    """The file at `path` with `addition`. ConfigurationError when it, or the file without it, is wrong."""
    file = path.resolve()
    before = _content(file)
    present: Configuration | None = None
    if before is None:
        lines = _lines(addition, indent=STEP, step=STEP)
        text = "\n".join(["sources:", *lines, ""])
    else:
        present = load(path, settings)
        if addition.name in present.sources:
            raise _refused(path, f"there is already a source called {addition.name}", "choose another --name")
        text, lines = _inserted(before.decode(), compose(path), addition, path)
    after = text.encode()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, file.name)
        copy.write_bytes(after)
        configuration = load(copy, settings, name=str(path))
    others = {name: source for name, source in configuration.sources.items() if name != addition.name}
    if addition.name not in configuration.sources or (present and (others != present.sources or configuration.groups != present.groups)):
        raise _refused(path, "the new lines would change what other lines mean", "write them by hand; --dry-run prints them")
    return Draft(
        path=file, before=before, after=after, lines=tuple(lines), configuration=configuration, source=configuration.sources[addition.name]
    )


def _inserted(text: str, root: Place, addition: Addition, path: Path) -> tuple[str, list[str]]:
    """The text with the addition, and the lines that are new."""
    ending = "\r\n" if "\r\n" in text else "\n"
    written = text.split("\n")
    if written[-1] == "":
        written.pop()
    section = next(place for name, place in root.entries("") if name == "sources")  # without it the file had not been loaded
    if isinstance(section.raw, MappingNode) and section.raw.value and not section.raw.flow_style:
        key, value = section.raw.value[-1]
        indent = key.start_mark.column
        step = value.value[0][0].start_mark.column - indent if not value.flow_style else STEP
        after = _behind(written, _last_line(value), indent)
    elif isinstance(section.raw, ScalarNode) or not section.raw.value:  # sources: {}, or nothing at all
        after, indent, step = section.line, STEP, STEP
        if section.is_nothing:
            pass
        elif section.raw.start_mark.line == section.raw.end_mark.line == section.line - 1:
            line = written[after - 1]
            written[after - 1] = (line[: section.raw.start_mark.column].rstrip() + line[section.raw.end_mark.column :]).rstrip(
                "\r"
            ) + ending[:-1]
        else:
            raise _refused(path, "sources: is empty in an unusual way", "write sources: and nothing behind it")
    else:
        raise _refused(path, "sources: is written in braces", "write one source below the other, without braces around all of them")
    lines = _lines(addition, indent=indent, step=step)
    if any(not line.strip() for line in written[section.line : after]):  # where a blank line parts the sources, one parts this one too
        lines.insert(0, "")
    if after == len(written) and ending == "\r\n":
        written[-1] = written[-1].rstrip("\r") + "\r"
    written[after:after] = [line + ending[:-1] for line in lines]
    return "\n".join([*written, ""]), lines


def _behind(written: Sequence[str], last: int, indent: int) -> int:
    """The number of lines that belong to the last source: its comments, indented deeper than its name, are kept with it."""
    while not written[last].strip():  # a folded text ends behind the blank lines that follow it
        last -= 1
    after = last + 1
    for number in range(after, len(written)):
        line = written[number]
        if line.lstrip().startswith("#") and len(line) - len(line.lstrip()) > indent:
            after = number + 1
        elif line.strip():
            break
    return after


def _last_line(node: Node) -> int:
    """The last line (from 0) on which something of `node` is written."""
    first, end, column = int(node.start_mark.line), int(node.end_mark.line), int(node.end_mark.column)
    if isinstance(node, CollectionNode) and node.value and not node.flow_style:
        # the end of a block collection is where the next thing begins, behind any comments
        nodes = [each for pair in node.value for each in pair] if isinstance(node, MappingNode) else node.value
        return max(map(_last_line, nodes))
    return max(first, end - (column == 0))  # a block text ends at the start of the line behind it


def _lines(addition: Addition, *, indent: int, step: int) -> list[str]:
    """The addition as YAML."""
    outer, inner, innermost = (" " * (indent + step * depth) for depth in range(3))
    lines = [f"{outer}# {comment}"] if (comment := one_line(addition.comment)) else []
    lines.append(f"{outer}{_quoted(addition.name)}:")
    for key, value in addition.keys.items():
        if isinstance(value, str):
            lines.append(f"{inner}{key}: {_quoted(value)}")
        elif isinstance(value, Mapping):
            lines.append(f"{inner}{key}:")
            lines += [f"{innermost}{_quoted(name)}: {_quoted(each)}" for name, each in value.items()]
        else:
            lines.append(f"{inner}{key}: [{', '.join(map(_quoted, value))}]")
    return lines


def _quoted(text: str) -> str:
    """`text` as YAML, in quotation marks where it needs them."""
    return text if PLAIN.fullmatch(text) and text.lower() not in NOT_PLAIN else json.dumps(text, ensure_ascii=False)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}", "name a file") from None


def _refused(path: Path, what: str, allowed: str) -> ConfigurationError:
    return ConfigurationError([Problem(file=str(path), line=None, path="sources", what=what, allowed=allowed)])
