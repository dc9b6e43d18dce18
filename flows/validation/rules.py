"""All rules on one record: ``Checker(policy).check(record)`` gives the findings.

A checker belongs to one policy. It compiles the table once, remembers the verdict on each row of subfield codes it has
seen, and looks at a record's text as a whole before it looks at any value, so that a record without anything unusual
costs some tens of microseconds. It has no state but those memories, which are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

from flows.catalog.model import BibRecord, Problem
from flows.validation.allowlist import AllowList, shipped
from flows.validation.demands import demand_notes
from flows.validation.facts import FormatName, formats
from flows.validation.findings import (
    CONTROL_LENGTH,
    DEPRECATED_CONTROL,
    EMPTY_SUBFIELD,
    ENCODING_MISMATCH,
    INVALID_TAG,
    LEADER_LENGTH,
    MISSING_CONTROL,
    MISSING_FIELD,
    NOT_NORMALISED,
    PARSING_ERROR,
    REPEATED_1XX,
    REPEATED_CONTROL,
    REPEATED_FIELD,
    REQUIRED_1XX,
    UNDEFINED_CONTROL,
    UNDEFINED_FIELD,
    UNDEFINED_SUBFIELD,
    UNDETECTABLE_TYPE,
    UNREADABLE,
    Finding,
    Issue,
    Severity,
    clipped,
    link,
    shape,
)
from flows.validation.fixed import (
    format_of,
    leader_notes,
    material_of,
    notes_006,
    notes_007,
    notes_008,
    timestamp_notes,
)
from flows.validation.linkage import linkage_notes
from flows.validation.look import ALTERNATE, Look, Row
from flows.validation.notes import Note
from flows.validation.personal import Detector
from flows.validation.policies import Policy
from flows.validation.structure import Verdict, judge
from flows.validation.text import character_notes, is_misread, is_plain
from flows.validation.title import title_notes

LARGEST_MEMORY: Final = 50_000  # rows of subfield codes; a large catalogue has some thousands
LONGEST_SUFFIX: Final = 12  # characters: $a[1234], /35-37; a longer one is a subfield code that is none
MOST_FINDINGS: Final = 1_000  # of one record: one with 10,000 bad fields says nothing new after that
REQUIRED: Final[dict[FormatName, tuple[str, ...]]] = {
    "bibliographic": ("001", "008", "245"),
    "holdings": ("001", "008", "852"),
    "authority": ("001", "008"),
}
FIXED: Final = frozenset({"LDR", "006", "007", "008"})  # what a record read from BIBFRAME has only by inference
PLACE_IN_RECORD: Final = re.compile(r"(?:LDR|[0-9]{3})\b")
PLACE: Final = re.compile(
    r"(?:(?:LDR|[0-9A-Za-z]{3})(?:\[[0-9]{1,5}\])?(?:[$^/][0-9A-Za-z-]{1,5})?(?:\[[0-9]{1,5}\])?)?"
    r"|fields|directory|(?:directory )?byte [0-9]{1,12}"
)
NO_POLICY: Final = Policy()

# What a reader noticed, as an issue; a kind that is not here is a parsing error. A delimiter among them: the reader has
# put it right. One that it left in the text is found there, and is an error.
OF_READERS: Final[dict[str, Issue]] = {
    "empty": UNREADABLE,
    "unreadable": UNREADABLE,
    "leader-missing": MISSING_CONTROL,
    "leader-length": LEADER_LENGTH,
    "record-length": LEADER_LENGTH,
    "base-address": LEADER_LENGTH,
    "encoding": ENCODING_MISMATCH,
    "character": ENCODING_MISMATCH,
    "duplicate-001": REPEATED_CONTROL,
    "tag": INVALID_TAG,
}
OF_READERS_SAID: Final = {
    "empty": "There is nothing to read.",
    "unreadable": "Nothing usable could be read.",
    "format": "The content is not of the form that the source is configured for.",
    "syntax": "XML, JSON or RDF that is not well-formed.",
    "structure": "The content is not built as a record is.",
    "leader-missing": "There is no leader.",
    "leader-length": "The leader is not 24 characters long.",
    "record-length": "The length in the leader is not the length of the record.",
    "base-address": "The base address in the leader does not point to the data.",
    "directory": "The directory does not fit the data.",
    "terminator": "A terminator is missing or doubled.",
    "delimiter": "A delimiter of ISO 2709 stands where none belongs.",
    "encoding": "The bytes, or leader/09, do not fit the encoding.",
    "character": "A character could not be decoded.",
    "indicator": "Indicators are missing or not one character each.",
    "subfield-code": "A subfield code is missing or not one character.",
    "tag": "A tag is missing or not three characters.",
    "duplicate-001": "There is more than one control number.",
    "several-records": "There is more than one record where one was expected.",
}


class Checker:
    """The rules of one policy."""

    def __init__(self, policy: Policy = NO_POLICY, *, allow_list: AllowList | None = None, show_values: bool = False) -> None:
        """`show_values` gives every value in full, for a cataloguer at a terminal; what is stored must not have it."""
        self.policy = policy
        self._allow_list = allow_list or shipped().extended(policy)
        self._detector = Detector(policy.privacy.patterns)
        self._show_values = show_values
        self._verdicts: dict[FormatName, dict[Row, Verdict | Literal[False]]] = {name: {} for name in REQUIRED}
        self._findings: dict[tuple[FormatName, str, Note], Finding] = {}
        self._demanding = bool(policy.require or policy.forbid or policy.values or policy.patterns)

    def __repr__(self) -> str:
        return f"<Checker: {sum(map(len, self._verdicts.values()))} rows known>"

    def check(self, record: BibRecord, problems: Sequence[Problem] = (), *, look: Look | None = None) -> tuple[Finding, ...]:
        """Everything that is wrong with a record; nothing for a deleted one, which has nothing to be wrong.

        `problems` are what its reader noticed. `look` spares looking a second time when the scrubber needs one, too.
        """
        if record.deleted:
            return ()
        look = look or Look(record)
        leader = record.leader
        named = format_of(leader)
        format_name: FormatName = named or "bibliographic"
        collected = _Collector(self, record, format_name, look)
        if not record.derived:
            if not leader:
                collected.once("LDR", Note(MISSING_CONTROL, "", "There is no leader."))
            else:
                if named is None:
                    collected.once("LDR", Note(UNDETECTABLE_TYPE, "/06", "The type of record is missing or not defined.", leader[6:7]))
                for note in leader_notes(leader, format_name):
                    collected.once("LDR", note)
        self._control_fields(record, format_name, named is not None, collected)
        self._data_fields(record, format_name, look, collected)
        if self._demanding:
            for tag, occurrence, note in demand_notes(record, self.policy):
                collected.at(tag, occurrence, note)
        for problem in problems:
            collected.problem(problem)
        return tuple(collected.findings)

    def unreadable(self, problems: Sequence[Problem]) -> tuple[Finding, ...]:
        """The findings on a payload of which nothing could be read."""
        nothing = BibRecord(source="", identifier="", format="", leader="")
        collected = _Collector(self, nothing, "bibliographic", Look(nothing))
        for problem in problems:
            collected.problem(problem)
        if not any(each.severity is Severity.ERROR for each in collected.findings):
            collected.once("", Note(UNREADABLE, "", OF_READERS_SAID["unreadable"]))
        return tuple(collected.findings)

    def _control_fields(self, record: BibRecord, format_name: FormatName, typed: bool, collected: _Collector) -> None:
        table = formats()[format_name].fields
        seen: dict[str, int] = {}
        plain = is_plain(" ".join([value for _, value in record.control_fields]))
        for tag, value in record.control_fields:
            number = seen[tag] = seen.get(tag, 0) + 1
            fact = table.get(tag)
            if fact is None:
                if not self.policy.allows(tag):
                    issue = UNDEFINED_CONTROL if tag.isdigit() and len(tag) == 3 else INVALID_TAG
                    collected.at(tag, number, Note(issue, "", "MARC 21 does not define this field."))
                continue
            if fact.obsolete:
                collected.at(tag, number, Note(DEPRECATED_CONTROL, "", f"The field ({fact.label}) is obsolete."))
            if number == 2 and not fact.repeatable:
                collected.at(tag, number, Note(REPEATED_CONTROL, "", f"The field ({fact.label}) must not be repeated."))
            notes: Sequence[Note] = ()
            if tag == "005":
                notes = timestamp_notes(value)
            elif record.derived:
                continue
            elif tag == "008":
                if typed and format_name != "authority":
                    notes = notes_008(value, format_name, material_of(record.leader) if format_name == "bibliographic" else "*")
                elif typed:
                    notes = notes_008(value, format_name, "*")
                elif len(value) != 40:
                    notes = (Note(CONTROL_LENGTH, "", f"008 has {len(value)} characters instead of 40.", value),)
            elif tag == "007":
                notes = notes_007(value)
            elif tag == "006":
                notes = notes_006(value)
            for note in notes:
                collected.at(tag, number, note)
            if not plain:
                for note in character_notes(value, ""):
                    collected.at(tag, number, note)
        for tag in REQUIRED[format_name]:
            if tag < "010" and (tag not in seen or not record.control(tag)) and not (record.derived and tag in FIXED):
                collected.once(tag, Note(MISSING_CONTROL, "", f"The field ({table[tag].label}) is required."))

    def _data_fields(self, record: BibRecord, format_name: FormatName, look: Look, collected: _Collector) -> None:
        verdicts = self._verdicts[format_name]
        fields = record.data_fields
        found = list(map(verdicts.get, look.rows))
        if None in found:
            found = [self._judged(format_name, row) for row in look.rows]
        for at, verdict in enumerate(found):
            if not verdict:
                continue
            for note in verdict.notes:
                collected.known(at, note)
            field = fields[at]
            for place, check in verdict.checks:
                code, value = field.subfields[place]
                for issue, message in check(field, value):
                    collected.of(at, Note(issue, f"${code}", message, value), place)
            if verdict.is_title:
                language = "" if record.derived else (record.control("008") or "")[35:38]
                for note in title_notes(field, language):
                    collected.of(at, note)
        self._repetitions(format_name, look, collected)
        if not is_plain(look.text):
            self._characters(record, collected)
        if "" in map(str.strip, look.values):
            self._empty(record, collected)
        if look.linked:
            for at, note in linkage_notes([(at, fields[at]) for at in look.linked]):
                collected.of(at, note)

    def _judged(self, format_name: FormatName, row: Row) -> Verdict | Literal[False]:
        """The verdict on a row, without what the policy allows; False where there is nothing to say and nothing to check."""
        verdicts = self._verdicts[format_name]
        known = verdicts.get(row)
        if known is not None:
            return known
        marked, ind1, ind2, codes = row
        tag, _, target = marked.partition(">") if marked.startswith(ALTERNATE) else (marked, "", "")
        verdict = judge(format_name, tag, ind1, ind2, codes, target)
        allowed = self.policy.allows
        kept = tuple(
            note
            for note in verdict.notes
            if not (note.issue in (UNDEFINED_FIELD, INVALID_TAG) and allowed(tag))
            and not (note.issue is UNDEFINED_SUBFIELD and allowed(tag, note.suffix[1:]))
        )
        if len(verdicts) >= LARGEST_MEMORY:
            verdicts.clear()
        verdict = replace(verdict, notes=kept)
        judged: Verdict | Literal[False] = False if verdict.is_quiet else verdict
        verdicts[row] = judged
        return judged

    def _repetitions(self, format_name: FormatName, look: Look, collected: _Collector) -> None:
        """Fields that are required and missing, or stand more than once and must not."""
        table = formats()[format_name].fields
        counts = collected.counts
        mains = 0
        for tag, count in counts.items():
            if tag[:1] == "1" and len(tag) == 3:
                mains += count
            if count > 1:
                fact = table.get(tag)
                if fact is not None and not fact.repeatable:
                    second = look.tags.index(tag, look.tags.index(tag) + 1)
                    collected.of(second, Note(REPEATED_FIELD, "", f"The field ({fact.label}) must not be repeated."))
        if counts.get(ALTERNATE, 0) > 1:  # each of them counts as the field it stands for
            seen: set[str] = set()
            for at, (marked, *_) in enumerate(look.rows):
                tag = marked[len(ALTERNATE) + 1 :]
                if marked.startswith(f"{ALTERNATE}>") and tag in table and not table[tag].repeatable and tag in seen:
                    collected.of(at, Note(REPEATED_FIELD, "", f"The field it stands for ({table[tag].label}) must not be repeated."))
                seen.add(tag)
        for tag in REQUIRED[format_name]:
            if tag > "010" and tag not in counts:
                collected.once(tag, Note(MISSING_FIELD, "", f"The field ({table[tag].label}) is required."))
        if format_name == "authority" and mains != 1:
            collected.once("1XX", Note(REQUIRED_1XX, "", f"An authority record has exactly one heading (1XX); this one has {mains}."))
        elif mains > 1:
            collected.once("1XX", Note(REPEATED_1XX, "", f"A record has at most one main entry (1XX); this one has {mains}."))

    def _characters(self, record: BibRecord, collected: _Collector) -> None:
        """Looks at each value, because something is unusual in one of them."""
        not_normal: list[tuple[int, int]] = []
        misread: list[tuple[int, int]] = []
        for at, field in enumerate(record.data_fields):
            for place, (code, value) in enumerate(field.subfields):
                if is_plain(value):
                    continue
                notes = character_notes(value, f"${code}")
                for note in notes:
                    collected.of(at, note, place)
                if is_misread(value):
                    misread.append((at, place))
                elif not notes:
                    not_normal.append((at, place))
        # One finding a record: it is the record's encoding that is wrong, and a note per value would drown the others.
        for places, issue, said in (
            (misread, ENCODING_MISMATCH, "Text was decoded with the wrong encoding"),
            (not_normal, NOT_NORMALISED, "Text is not in Unicode form C"),
        ):
            if places:
                at, place = places[0]
                code = record.data_fields[at].subfields[place].code
                more = f", here and in {len(places) - 1} other places" if len(places) > 1 else ""
                collected.of(at, Note(issue, f"${code}", f"{said}{more}."), place)

    def _empty(self, record: BibRecord, collected: _Collector) -> None:
        for at, field in enumerate(record.data_fields):
            for place, (code, value) in enumerate(field.subfields):
                if not value.strip():
                    collected.of(at, Note(EMPTY_SUBFIELD, f"${code}", "The subfield has no text."), place)


class _Collector:
    """Turns notes into findings: severity by policy, path with occurrences, values only as far as they may be shown."""

    __slots__ = ("_checker", "_format", "_look", "_record", "counts", "findings")

    def __init__(self, checker: Checker, record: BibRecord, format_name: FormatName, look: Look) -> None:
        self._checker = checker
        self._record = record
        self._format = format_name
        self._look = look
        self.counts: dict[str, int] = {}
        for tag in look.tags:
            self.counts[tag] = self.counts.get(tag, 0) + 1
        self.findings: list[Finding] = []

    def once(self, tag: str, note: Note) -> None:
        """A note on a field that is not there, or is there only once."""
        self._add(tag, tag, note)

    def at(self, tag: str, number: int, note: Note) -> None:
        """A note on the field of that number, from 1, among those with its tag."""
        several = self.counts.get(tag, 0) > 1 or sum(its == tag for its, _ in self._record.control_fields) > 1
        self._add(tag, f"{tag}[{number}]" if several else tag, note)

    def of(self, at: int, note: Note, place: int | None = None) -> None:
        """A note on the data field at a place of the record; `place` is that of the subfield in the field."""
        if len(self.findings) >= MOST_FINDINGS:
            return
        tags = self._look.tags
        tag = tags[at]
        path = f"{tag}[{tags[: at + 1].count(tag)}]" if self.counts[tag] > 1 else tag
        if place is not None:
            codes = self._look.rows[at][3]
            number = codes[: place + 1].count(codes[place])
            if number > 1:
                note = note._replace(suffix=f"{note.suffix}[{number}]")
        self._add(tag, path, note)

    def known(self, at: int, note: Note) -> None:
        """As `of`, for notes of verdicts: they come again and again, and so do their findings."""
        if len(self.findings) >= MOST_FINDINGS:
            return
        tags = self._look.tags
        tag = tags[at]
        path = f"{tag}[{tags[: at + 1].count(tag)}]" if self.counts[tag] > 1 else tag
        memory = self._checker._findings
        key = (self._format, path, note)
        finding = memory.get(key)
        if finding is None:
            before = len(self.findings)
            self._add(tag, path, note)
            if len(memory) >= LARGEST_MEMORY:
                memory.clear()
            if len(self.findings) > before:
                memory[key] = self.findings[-1]
        else:
            self.findings.append(finding)

    def problem(self, problem: Problem) -> None:
        """What a reader noticed, unless the rules have found it themselves. Its message may repeat what it read, and is not used."""
        issue = OF_READERS.get(problem.kind, PARSING_ERROR)
        severity = self._checker.policy.severity.get(issue.key, issue.severity)
        place = problem.place.replace("leader", "LDR", 1)
        if not PLACE.fullmatch(place):
            place = shape(place)
        again = any(each.code == issue.code and each.category == issue.category and each.path[:3] == place[:3] for each in self.findings)
        if severity is None or (again and issue is not PARSING_ERROR):
            return
        said = OF_READERS_SAID.get(problem.kind, "The record could be read only by repairing it.")
        page = self._link(place[:3]) if PLACE_IN_RECORD.match(place) else ""
        self.findings.append(Finding(category=issue.category, code=issue.code, severity=severity, path=place, message=said, link=page))

    def _add(self, tag: str, path: str, note: Note) -> None:
        issue = note.issue
        overridden = self._checker.policy.severity
        severity = overridden.get(issue.key, issue.severity) if overridden else issue.severity
        if severity is None or len(self.findings) >= MOST_FINDINGS:
            return
        if not path.isascii() or not path.isprintable() or len(tag) > 3:
            path = shape(path)
        suffix = note.suffix
        if not suffix.isascii() or not suffix.isprintable() or len(suffix) > LONGEST_SUFFIX:
            suffix = "$?"
        self.findings.append(
            Finding(
                category=issue.category,
                code=issue.code,
                severity=severity,
                path=path + suffix,
                message=note.message,
                value=self._shown(tag, note) if note.value else "",
                link=self._link(tag),
            )
        )

    def _shown(self, tag: str, note: Note) -> str:
        """The value, or its shape where somebody may stand behind it or the scrubber would not let it pass."""
        checker = self._checker
        if checker._show_values or len(note.value) == 1:
            return clipped(note.value)
        code = note.suffix[1:2] if note.suffix.startswith("$") else ""
        passes = tag in ("LDR", "") or checker._allow_list.passes(tag, code)
        if passes and not checker._detector.looks_personal(note.value):
            return clipped(note.value)
        return shape(note.value)

    def _link(self, tag: str) -> str:
        return link(self._format, tag) if tag else ""


def errors(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Those that send a record to quarantine."""
    return (each for each in findings if each.severity is Severity.ERROR)
