"""Paths as policies write them: ``245``, ``9XX``, ``001[2]``, ``952$a$b``, ``008/35-37``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

WRITTEN: Final = re.compile(
    r"(?P<tag>LDR|[0-9A-Za-z]{3})(?:\[(?P<occurrence>[1-9][0-9]?)\])?(?:(?P<codes>(?:\$[0-9a-z])+)|/(?P<first>[0-9]{1,2})(?:-(?P<last>[0-9]{1,2}))?)?"
)
PATH_ALLOWED: Final = "allowed: a tag such as 245 or 9XX, if wanted its second occurrence 001[2], subfields 952$a$b, or positions 008/35-37"


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """A field, or something of it."""

    written: str
    tag: str
    """Three characters; X stands for any digit."""
    occurrence: int | None = None
    """Counted from 1; None for all."""
    codes: tuple[str, ...] = ()
    """Subfields; empty for the field as a whole."""
    span: tuple[int, int] | None = None
    """Positions of a control field, from 0, both included; None for the whole."""

    @classmethod
    def read(cls, text: str) -> Path:
        """The path that `text` is. ValueError when it is none."""
        found = WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(PATH_ALLOWED)
        first, last = found["first"], found["last"] or found["first"]
        if first and int(last) < int(first):
            raise ValueError("the last position comes before the first")
        return cls(
            written=text,
            tag=found["tag"].upper(),
            occurrence=int(found["occurrence"]) if found["occurrence"] else None,
            codes=tuple(dict.fromkeys((found["codes"] or "").replace("$", ""))),
            span=(int(first), int(last)) if first else None,
        )

    @property
    def is_control(self) -> bool:
        """Is it a control field, or the leader?"""
        return self.tag == "LDR" or self.tag.startswith("00")

    def matches(self, tag: str) -> bool:
        """Is `tag` a tag that is meant?"""
        return tag == self.tag or (
            "X" in self.tag
            and len(tag) == 3
            and all((mine == "X" and its.isdigit()) or mine == its for mine, its in zip(self.tag, tag, strict=True))
        )

    def covers(self, other: Path) -> bool:
        """Is everything that `other` means meant by this?"""
        return (
            all(mine in ("X", its) for mine, its in zip(self.tag, other.tag, strict=True))
            and self.occurrence in (None, other.occurrence)
            and (not self.codes or (bool(other.codes) and set(other.codes) <= set(self.codes)))
            and self.span in (None, other.span)
        )

    def __str__(self) -> str:
        return self.written
