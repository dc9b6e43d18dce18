"""Which fields and subfields may pass on. Whatever is not listed does not pass: an unknown field needs no rule against it.

The shipped list is ``allowlist.txt`` beside this module; a policy's ``allow`` extends it. Three fields have an indicator
that calls them private (541, 561, 583): those never pass, whatever is listed. An 880 passes as the field it stands for.
Source: MARC 21; first indicator "Privacy" of 541, 561 and 583.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from flows.validation.policies import Ban, Policy

LIST: Final = "allowlist.txt"
PRIVATE: Final[Mapping[str, str]] = {"541": "0", "542": "0", "561": "0", "583": "0"}  # tag -> first indicator that says "private"


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowList:
    """What passes."""

    control: frozenset[str]
    """Control fields, and LDR."""
    data: Mapping[str, frozenset[str]]
    """Subfield codes by tag."""
    local: tuple[Ban, ...] = ()
    """What a policy adds."""

    def passes(self, tag: str, code: str = "") -> bool:
        """May this subfield pass? Without a code: may anything of the field?

        Tags are compared without regard to the case of letters. Codes are not: ``$X`` is another subfield than ``$x``,
        MARC 21 defines none in capitals, and so none passes.
        """
        tag = tag.upper()
        listed = self.data.get(tag)
        if listed is not None and (not code or code in listed):
            return True
        return (not code and tag in self.control) or any(
            each.path.matches(tag)
            and not each.path.is_control
            and (not each.path.codes or not code or code in each.path.codes)
            and not any(other.matches(tag) and (not other.codes or code in other.codes) for other in each.unless)
            for each in self.local
        )

    def passes_control(self, tag: str) -> bool:
        """May this control field pass?"""
        tag = tag.upper()
        return tag in self.control or any(each.path.matches(tag) and not each.path.codes for each in self.local)

    def extended(self, policy: Policy) -> AllowList:
        """The same, and what a policy allows."""
        return AllowList(control=self.control, data=self.data, local=policy.allow) if policy.allow else self


def is_private(tag: str, ind1: str) -> bool:
    """Does the field itself say that it is private?"""
    return PRIVATE.get(tag) == ind1


@cache
def shipped() -> AllowList:
    """The list that comes with Windrow."""
    return parse(files(__package__).joinpath(LIST).read_text(encoding="utf-8"))


def parse(text: str) -> AllowList:
    """A list in the form of the shipped one. ValueError for a line that is none."""
    control: set[str] = set()
    data: dict[str, frozenset[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        tags, dollar, codes = line.partition("$")
        for tag in tags.split():
            if len(tag) != 3 or (dollar and (tag in data or " " in codes or not codes)):
                raise ValueError(f"line {number}: tags of three characters, each once, and subfield codes after a $ are expected")
            if dollar:
                data[tag] = frozenset(codes)
            else:
                control.add(tag)
    return AllowList(control=frozenset(control), data=data)
