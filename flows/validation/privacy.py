"""The scrubber: between the rules and the store, it lets pass what is listed and nothing else.

What is dropped is counted by name (``949``, ``852$x``, ``500$a (email)``), never by value. A record that has nothing to
drop comes back as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from flows.catalog.model import BibRecord, ControlField, DataField, Subfield
from flows.validation.allowlist import AllowList, is_private, shipped
from flows.validation.look import ALTERNATE, Look, Row
from flows.validation.personal import Detector, Sign
from flows.validation.policies import Policy
from flows.validation.tokens import Tokeniser

LARGEST_MEMORY: Final = 50_000
NAMED: Final = re.compile(r"[0-9A-Za-z]{3}")
CODE: Final = re.compile(r"[0-9A-Za-z]")
LEADER: Final = re.compile(r"[ -~]{24}")
# Fixed forms that cannot hold a person, though their digits may look like a card number (005 begins with 20...).
FIXED_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "001": re.compile(r"[\w():/+-]{1,64}", re.ASCII),
    "003": re.compile(r"[\w():/-]{1,32}", re.ASCII),
    "005": re.compile(r"[0-9]{14}\.[0-9]"),
    "006": re.compile(r"[ -~]{18}"),
    "007": re.compile(r"[ -~]{2,23}"),
    "008": re.compile(r"[ -~]{32}|[ -~]{40}"),
}
# What readers say of how they read; anything else in the provenance would be of the source's own making.
PROVENANCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,40}")
PLAIN: Final = re.compile(r"[\w .,:;()/#+-]{0,200}", re.ASCII)
COUNTED: Final = re.compile(r'\{(?:"[^"\\\s]{1,200}": ?[0-9]{1,9}(?:, ?)?)*\}')  # predicates that were not mapped, with their numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Scrubbed:
    """A record as it may pass on, and what was taken out."""

    record: BibRecord
    dropped: Mapping[str, int]
    """How often, by name: a tag, a subfield, or a subfield with the pattern that was found in it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """What is to be done with every field of one tag, with the same indicators and the same row of subfield codes."""

    keep: tuple[int, ...]
    """Places of the subfields that pass."""
    count: tuple[str, ...]
    """Names of what does not."""


WHOLE: Final = Plan(keep=(), count=())  # the field passes as it is


class Scrubber:
    """The scrubber of one policy."""

    def __init__(self, policy: Policy, *, allow_list: AllowList | None = None, tokeniser: Tokeniser | None = None) -> None:
        """Without a tokeniser everything in which a pattern is found is dropped, whatever the policy says."""
        self._allow = (allow_list or shipped()).extended(policy)
        self._detector = Detector(policy.privacy.patterns)
        self._tokeniser = tokeniser if policy.privacy.tokens == "tokenise" else None
        self._plans: dict[Row, Plan] = {}
        self._said: dict[tuple[str, str], bool] = {}

    def __repr__(self) -> str:
        return f"<Scrubber: {self._tokeniser or 'drops what it finds'}>"

    def scrub(self, record: BibRecord, *, look: Look | None = None) -> Scrubbed:
        """The record without what is not listed, and without patrons. `look` as in `Checker.check`."""
        look = look or Look(record)
        dropped: dict[str, int] = {}
        fields = record.data_fields
        known = list(map(self._plans.get, look.rows))
        plans = (
            [plan or self._planned(row) for plan, row in zip(known, look.rows, strict=True)] if None in known else cast(list[Plan], known)
        )
        kept: Sequence[DataField] = fields
        if any(plan is not WHOLE for plan in plans):
            reduced = [field if plan is WHOLE else _reduced(field, plan, dropped) for field, plan in zip(fields, plans, strict=True)]
            kept = [field for field in reduced if field is not None]
        if self._detector.suspects(look.text):
            searched = [self._searched(field, dropped) for field in kept]
            if any(one is not other for one, other in zip(kept, searched, strict=True)):
                kept = [field for field in searched if field is not None]
        controls = self._controls(record, dropped)
        leader = record.leader if not record.leader or LEADER.fullmatch(record.leader) else ""
        if leader != record.leader:
            dropped["LDR"] = 1
        provenance = self._provenance(record.provenance)
        if kept is fields and controls is record.control_fields and not dropped and provenance is record.provenance:
            return Scrubbed(record=record, dropped=dropped)
        clean = replace(record, leader=leader, control_fields=controls, data_fields=tuple(kept), provenance=provenance)
        return Scrubbed(record=clean, dropped=dropped)

    def _provenance(self, said: Mapping[str, str]) -> Mapping[str, str]:
        """What readers say of how they read; few different things, which are remembered."""
        kept = {}
        for item in said.items():
            fine = self._said.get(item)
            if fine is None:
                if len(self._said) >= LARGEST_MEMORY:
                    self._said.clear()
                fine = self._said[item] = PROVENANCE.fullmatch(item[0]) is not None and self._is_plain(item[1])
            if fine:
                kept[item[0]] = item[1]
        return said if len(kept) == len(said) else kept

    def _is_plain(self, said: str) -> bool:
        return (PLAIN.fullmatch(said) is not None or COUNTED.fullmatch(said) is not None) and not self._detector.looks_personal(said)

    def _planned(self, row: Row) -> Plan:
        """What is to be done with every field that has such a row."""
        known = self._plans.get(row)
        if known is not None:
            return known
        tag, target = _parted(row)
        _, ind1, ind2, codes = row
        if not self._enters(tag, target, ind1):
            plan = Plan(keep=(), count=(_named(tag),))
        else:
            listed = [self._listed(tag, target, code) for code in codes]
            count = tuple(
                f"{_named(tag)}${code if CODE.fullmatch(code) else '?'}" for code, passes in zip(codes, listed, strict=True) if not passes
            )
            keep = tuple(at for at, passes in enumerate(listed) if passes)
            plan = WHOLE if codes and not count and len(ind1) == len(ind2) == 1 else Plan(keep=keep, count=count)
        if len(self._plans) >= LARGEST_MEMORY:
            self._plans.clear()
        self._plans[row] = plan
        return plan

    def _enters(self, tag: str, target: str, ind1: str) -> bool:
        """May anything of the field pass? An 880 passes as what it stands for, and not at all when that is nothing."""
        meant = target if tag == ALTERNATE else tag
        return self._allow.passes(tag) and self._allow.passes(meant) and not is_private(meant, ind1[:1])

    def _listed(self, tag: str, target: str, code: str) -> bool:
        """Does a subfield pass? One of an 880 passes when it would pass in the field that the 880 stands for."""
        if len(code) != 1 or not self._allow.passes(tag, code):
            return False
        return tag != ALTERNATE or code == "6" or self._allow.passes(target, code)

    def _searched(self, field: DataField, dropped: dict[str, int]) -> DataField | None:
        """The field without patrons: the same object when there is none in it, None when nothing is left of it."""
        tag = (field.first("6") or "")[:3] if field.tag == ALTERNATE else field.tag
        changed = False
        kept: list[Subfield] = []
        for subfield in field.subfields:
            signs = self._detector.signs(subfield.value, tag)
            if not signs:
                kept.append(subfield)
                continue
            changed = True
            for name in dict.fromkeys(sign.name for sign in signs):
                _count(dropped, f"{_named(field.tag)}${subfield.code} ({name})")
            if self._tokeniser is not None:
                kept.append(Subfield(subfield.code, _with_tokens(subfield.value, signs, self._tokeniser)))
        if not changed:
            return field
        return replace(field, subfields=tuple(kept)) if kept else None

    def _controls(self, record: BibRecord, dropped: dict[str, int]) -> tuple[ControlField, ...]:
        kept = []
        for each in record.control_fields:
            tag, value = each
            form = FIXED_FORMS.get(tag)
            if form is not None and form.fullmatch(value):  # all of them are listed
                kept.append(each)
            elif not self._allow.passes_control(tag):
                _count(dropped, _named(tag))
            elif self._detector.looks_personal(value):
                _count(dropped, f"{_named(tag)} (pattern)")
            else:
                kept.append(each)
        return record.control_fields if len(kept) == len(record.control_fields) else tuple(kept)


def _reduced(field: DataField, plan: Plan, dropped: dict[str, int]) -> DataField | None:
    """What a plan leaves of a field; None when that is nothing."""
    for name in plan.count:
        _count(dropped, name)
    if not plan.keep:
        return None
    ind1, ind2 = (value if len(value) == 1 else " " for value in (field.ind1, field.ind2))
    return DataField(tag=field.tag, ind1=ind1, ind2=ind2, subfields=tuple([field.subfields[at] for at in plan.keep]))


def _parted(row: Row) -> tuple[str, str]:
    """The tag of a row, and what it stands for if it is an 880."""
    tag, _, target = row[0].partition(">") if row[0].startswith(ALTERNATE) else (row[0], "", "")
    return tag, target


def _with_tokens(value: str, signs: list[Sign], tokeniser: Tokeniser) -> str:
    """The value with a token for each place; with one for all of it where a phrase announces a name."""
    if any(sign.whole for sign in signs):
        return tokeniser.token(value)
    out, at = [], 0
    for sign in signs:
        first, last = sign.span
        if first >= at:
            out += [value[at:first], tokeniser.token(value[first:last])]
            at = last
        elif last > at:  # patterns overlap: nothing of either may stay
            at = last
    return "".join(out) + value[at:]


def _named(tag: str) -> str:
    """A tag as it may be counted: what is none could be anything."""
    return tag if NAMED.fullmatch(tag) else "other"


def _count(dropped: dict[str, int], name: str) -> None:
    dropped[name] = dropped.get(name, 0) + 1
