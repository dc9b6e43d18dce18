"""``policies.yaml``: read, checked as a whole, every problem with its line.

::

    all:                                     # then groups: {NAME: ...} and sources: {NAME: ...}; the narrower one wins
      require: ["245$a", "008"]
      forbid: ["001[2]"]
      allow: ["949", "952$a$b"]
      values: {"040$a": [DLC, OCoLC]}
      patterns: {"035$a": '^\\([A-Za-z-]+\\)'}
      severity: {"subfield/undefinedSubfield": ignore}
      gate: {drop_warn: 15, drop_hold: 30, failure_warn: 20, failure_hold: 40}
    privacy: {tokens: drop, key: env:WINDROW_PRIVACY_KEY, patterns: {barcode: '\\b2\\d{13}\\b'}}

Raises ConfigurationError (``harvester.problems``) with everything that is wrong; a policy is never half used.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path as File
from typing import Any, Final

from flows.validation.findings import ISSUES, Severity
from flows.validation.paths import PATH_ALLOWED, Path
from flows.validation.personal import DEFAULTS, PrivacyRules, Treatment
from flows.validation.policies import GATE_KEYS, GateLimits, Policies, Statements, Verb
from harvester.document import Place, Wrong, compose
from harvester.problems import ConfigurationError, Problem, one_of, shortened
from harvester.secrets import REFERENCE_ALLOWED, SecretRef

LEVEL_KEYS: Final = tuple(each.name for each in fields(Statements))
TOP_KEYS: Final = ("all", "groups", "sources", "privacy")
PRIVACY_KEYS: Final = ("tokens", "key", "patterns")
IGNORE: Final = "ignore"
HASHES: Final = re.compile(r"(?:hash|md5|sha|crc|blake|truncat|short)", re.IGNORECASE)
FORM: Final = "allowed: one YAML document with all:, groups:, sources: and privacy:"
NO_HASH: Final = "write tokenise (HMAC-SHA256 under a key, in full length) or drop"


def load(
    path: File, *, name: str | None = None, known_sources: Collection[str] | None = None, known_groups: Collection[str] | None = None
) -> Policies:
    """The policies of a file. ConfigurationError with all problems when anything in it is wrong.

    Sources and groups that nobody knows are a problem when it is told which ones are known.
    """
    try:
        root = compose(path, name=name)
    except ConfigurationError as error:
        raise ConfigurationError(map(_of_policies, error.problems)) from None
    found = _root(root, known_sources, known_groups)
    if root.document.problems:
        raise ConfigurationError(map(_of_policies, root.document.problems))
    return found


def _of_policies(problem: Problem) -> Problem:
    """A problem of the YAML itself, whose advice is about another file."""
    if "sources.yaml" in problem.allowed or "WINDROW_SOURCES" in problem.allowed:
        return replace(problem, allowed="name a file such as the example policies.yaml; WINDROW_POLICIES says which one is read")
    if "with sources:" in problem.allowed:
        return replace(problem, allowed=FORM)
    if "under defaults:" in problem.allowed:
        return replace(problem, allowed="write what sources share under all: or groups:")
    return problem


def _root(root: Place, known_sources: Collection[str] | None, known_groups: Collection[str] | None) -> Policies:
    found: dict[str, Any] = {}
    try:
        for key, place in root.entries(FORM):
            if key == "all":
                found["all"] = _level(place)
            elif key in ("groups", "sources"):
                found[key] = _named(place, key, known_groups if key == "groups" else known_sources)
            elif key == "privacy":
                found["privacy"] = _privacy(place)
            else:
                place.report(f"the key {shortened(key)} is not known", one_of(TOP_KEYS, written=key))
    except Wrong as wrong:
        root.report(wrong.what, wrong.allowed)
    return Policies(**found)


def _named(place: Place, kind: str, known: Collection[str] | None) -> dict[str, Statements]:
    found = {}
    try:
        for name, each in place.entries(f"allowed: a mapping of names of {kind} to what holds for them"):
            if known is not None and name not in known:
                each.report(f"there is no {kind[:-1]} {shortened(name)}", one_of(known, written=name))
            found[name] = _level(each)
    except Wrong as wrong:
        place.report(wrong.what, wrong.allowed)
    return found


def _level(place: Place) -> Statements:
    found: dict[str, Any] = {}
    try:
        for key, each in place.entries(one_of(LEVEL_KEYS)):
            try:
                if key in list(Verb):
                    found[key] = tuple(path for path, _ in _paths(each))
                elif key == "values":
                    found[key] = {path: frozenset(_texts(its)) for path, its in _by_path(each)}
                elif key == "patterns":
                    found[key] = {path: _pattern(its) for path, its in _by_path(each)}
                elif key == "severity":
                    found[key] = _severity(each)
                elif key == "gate":
                    found[key] = _gate(each)
                else:
                    each.report(f"the key {shortened(key)} is not known", one_of(LEVEL_KEYS, written=key))
            except Wrong as wrong:
                each.report(wrong.what, wrong.allowed)
    except Wrong as wrong:
        place.report(wrong.what, wrong.allowed)
    for path in found.get("forbid", ()):
        for verb in ("require", "allow"):
            if path in found.get(verb, ()):
                place.report(f"{path} is forbidden, and under {verb}:, too", "say one of both")
    return Statements(**found)


def _path(text: str) -> Path:
    try:
        return Path.read(text)
    except ValueError:
        raise Wrong(f"{shortened(text)} is no path", PATH_ALLOWED) from None


def _paths(place: Place) -> list[tuple[Path, Place]]:
    found = []
    for each in place.items("allowed: a list of paths such as 245$a"):
        try:
            path = _path(each.text(PATH_ALLOWED))
            if path.span is not None:
                raise Wrong("positions can have values and patterns only", "leave out the / and what follows")
            found.append((path, each))
        except Wrong as wrong:
            each.report(wrong.what, wrong.allowed)
    return found


def _by_path(place: Place) -> list[tuple[Path, Place]]:
    found = []
    for key, each in place.entries("allowed: a mapping of paths such as 040$a"):
        try:
            path = _path(key)
            if not path.is_control and not path.codes:
                raise Wrong(f"{shortened(key)} has no subfield", "name the subfield that has the value, such as 040$a")
            found.append((path, each))
        except Wrong as wrong:
            each.report(wrong.what, wrong.allowed)
    return found


def _texts(place: Place) -> list[str]:
    return [each.text("allowed: a text") for each in place.items("allowed: a list of values")]


def _pattern(place: Place) -> re.Pattern[str]:
    text = place.text("allowed: a regular expression")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        place.report(f"the regular expression cannot be read: {error}", "see the syntax of Python's re; use single quotes in YAML")
        return re.compile("")


def issue_key(written: str) -> str | None:
    """The key of the issue type that somebody wrote, whatever its case and with or without blanks; None when there is none."""
    return {key.lower(): key for key in ISSUES}.get(re.sub(r"[ _-]", "", written).lower())


def _severity(place: Place) -> dict[str, Severity | None]:
    found: dict[str, Severity | None] = {}
    words = [*Severity, IGNORE]
    for key, each in place.entries("allowed: a mapping of issue types such as subfield/undefinedSubfield"):
        known = issue_key(key)
        if known is None:
            each.report(f"there is no issue type {shortened(key)}", one_of(ISSUES, written=key))
            continue
        try:
            word = each.text(one_of(words))
            if word not in words:
                raise Wrong(f"{shortened(word)} is no severity", one_of(words, written=word))
            found[known] = None if word == IGNORE else Severity(word)
        except Wrong as wrong:
            each.report(wrong.what, wrong.allowed)
    return found


def _gate(place: Place) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, each in place.entries(one_of(GATE_KEYS)):
        if key not in GATE_KEYS:
            each.report(f"the key {shortened(key)} is not known", one_of(GATE_KEYS, written=key))
            continue
        try:
            text = each.text("allowed: a number from 0 to 100")
            if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?\s*%?", text, re.ASCII) or float(text.rstrip("% ")) > 100:
                raise Wrong(f"{shortened(text)} is no percentage", "allowed: a number from 0 to 100")
            found[key] = float(text.rstrip("% "))
        except Wrong as wrong:
            each.report(wrong.what, wrong.allowed)
    limits = GateLimits(**found)
    for kind in ("drop", "failure"):
        warn, hold = f"{kind}_warn", f"{kind}_hold"
        lower, upper = getattr(limits, warn), getattr(limits, hold)
        if (warn in found or hold in found) and lower > upper:
            place.report(f"{warn} ({lower:g}) is above {hold} ({upper:g})", "a run is warned of before it is held")
    return found


def _privacy(place: Place) -> PrivacyRules:
    tokens, key, patterns = Treatment.DROP, None, dict(DEFAULTS)
    try:
        for name, each in place.entries(one_of(PRIVACY_KEYS)):
            try:
                if name == "tokens":
                    tokens = _treatment(each)
                elif name == "key":
                    text = each.text(REFERENCE_ALLOWED)
                    key = SecretRef.read(text)
                    if key is None:
                        raise Wrong("the key must not stand in the file", REFERENCE_ALLOWED)
                elif name == "patterns":
                    patterns = _searched(each)
                elif HASHES.search(name) or name in ("length", "salt"):
                    each.report("an unsalted or shortened hash can be tried out", NO_HASH)
                else:
                    each.report(f"the key {shortened(name)} is not known", one_of(PRIVACY_KEYS, written=name))
            except Wrong as wrong:
                each.report(wrong.what, wrong.allowed)
    except Wrong as wrong:
        place.report(wrong.what, wrong.allowed)
    return PrivacyRules(tokens=tokens, key=key, patterns=patterns)


def _treatment(place: Place) -> Treatment:
    words = list(Treatment)
    text = place.text(one_of(words))
    if text == "tokenize":
        return Treatment.TOKENISE
    if HASHES.search(text):
        raise Wrong("an unsalted or shortened hash can be tried out", NO_HASH)
    if text not in words:
        raise Wrong(f"{shortened(text)} is not known", one_of(words, written=text))
    return Treatment(text)


def _searched(place: Place) -> dict[str, str]:
    """The shipped patterns, with those of the file; ``null`` takes a shipped one away."""
    found = dict(DEFAULTS)
    for name, each in place.entries("allowed: a mapping of names to regular expressions"):
        if each.is_null and not each.is_nothing:
            found.pop(name, None)
            continue
        try:
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name, re.ASCII):
                raise Wrong(f"{shortened(name)} cannot name a pattern", "allowed: lower-case letters, digits, - and _")
            pattern = _pattern(each)
            if pattern.pattern and pattern.search("") is not None:
                raise Wrong("the regular expression matches an empty text, and so everything", "let it match at least one character")
            if pattern.pattern:
                found[name] = pattern.pattern
        except Wrong as wrong:
            each.report(wrong.what, wrong.allowed)
    return found
