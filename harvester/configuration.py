"""From ``sources.yaml`` and the environment to frozen values, with every error at once.

The order in which a key of a source is decided, first found first:

1. the source itself
2. the environment (``WINDROW_HARVEST_INTERVAL``, ``WINDROW_PAUSE_*``, ``WINDROW_PAGE_BYTES_LIMIT``)
3. ``defaults:`` of the file
4. what `harvester.sources.Source` says

The limit of a group: ``WINDROW_GROUP_<NAME>_LIMIT``, then the file, then ``WINDROW_DEFAULT_GROUP_LIMIT``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harvester.contradictions import contradictions, fitting
from harvester.document import Document, Place, Wrong, compose
from harvester.forms import NAME_ALLOWED, NAME_PATTERN, URL_ALLOWED, Form, Stated, stated, usable, word
from harvester.keys import BUILT_IN, GROUP_KEYS, SOURCE_KEYS
from harvester.problems import ENVIRONMENT, ConfigurationError, Problem, meant, one_of, shortened
from harvester.settings import GROUP_PREFIX, LIMIT_SUFFIX, POSITIVE_ALLOWED, RATE_SUFFIX, Settings, group_variable, whole_number
from harvester.sources import DEFAULT_GROUP, Configuration, Deletions, Group, Source

WEEK: Final = 7 * 86400.0  # seconds: the schedule of sweeps and of full passes that nobody has set
SECTIONS: Final = ("groups", "defaults", "sources")
GROUPS_ALLOWED: Final = "allowed: names of groups, such as hosted-folio: {limit: 2}"
SOURCES_ALLOWED: Final = "allowed: names of sources, each with at least url:"
DEFAULTS_ALLOWED: Final = "allowed: every key of a source but url"
FROM_ENVIRONMENT: Final[Mapping[str, str]] = {  # key of a source: the setting that is its default
    "interval": "harvest_interval",
    "pause_after_records": "pause_after_records",
    "pause_seconds": "pause_seconds",
    "pause_mode": "pause_mode",
    "page_bytes_limit": "page_bytes_limit",
}

SOURCE_FORMS: Final = {key.name: key.form for key in SOURCE_KEYS}
DEFAULT_FORMS: Final = {name: form for name, form in SOURCE_FORMS.items() if name != "url"}
GROUP_FORMS: Final = {key.name: key.form for key in GROUP_KEYS}


def load(path: Path | str, settings: Settings, *, environ: Mapping[str, str] | None = None, name: str | None = None) -> Configuration:
    """The configuration in the file at `path`, under `settings`; no request is sent.

    `environ` is where ``env:`` references must be found (by default this process's environment); `name` is what problems
    call the file (by default `path` as given).
    Raises ConfigurationError, whose `problems` hold everything that is wrong with the file and with the variables that
    name its groups.
    """
    root = compose(Path(path), name=name or str(path))
    reader = _Reader(document=root.document, settings=settings, environ=os.environ if environ is None else environ)
    sections = _sections(root)
    groups = reader.groups(sections.get("groups"))
    reader.defaults(sections.get("defaults"), groups)
    sources = reader.sources(sections.get("sources"), groups)
    problems = (*root.document.problems, *reader.variables)
    if problems:
        raise ConfigurationError(problems)
    return Configuration(
        sources=dict(sorted(sources.items())),
        groups=dict(sorted(groups.items())),
        total_limit=settings.total_limit,
        seed=settings.seed,
    )


def _sections(root: Place) -> dict[str, Place]:
    """The parts of the file; an empty one is left out."""
    found = {}
    misspelt = set()
    try:
        for name, place in root.entries(one_of(SECTIONS)):
            found[name] = place
            if name not in SECTIONS:
                misspelt.add(meant(name, SECTIONS))
                place.report(f"the key {shortened(name)} is not known", one_of(SECTIONS, written=name))
        if "sources" not in found and "sources" not in misspelt:
            root.document.report("sources", root.line, "it is missing", SOURCES_ALLOWED)
    except Wrong as wrong:
        root.report(wrong.what, wrong.allowed)
    return {name: place for name, place in found.items() if not place.is_null}


def _named(section: Place | None, allowed: str) -> Iterator[tuple[str, Place]]:
    """The entries of a section. A name that cannot be one is reported; what stands under it is still looked at."""
    if section is None:
        return
    try:
        for name, place in section.entries(allowed):
            try:
                word(name, NAME_PATTERN, NAME_ALLOWED)
            except Wrong as wrong:
                place.report(f"the name {wrong.what}", wrong.allowed)
            yield name, place
    except Wrong as wrong:
        section.report(wrong.what, wrong.allowed)


def _stated(place: Place, forms: Mapping[str, Form], allowed: str) -> dict[str, Stated]:
    """What `place` states; what is wrong with it as a whole is reported."""
    try:
        return stated(place, forms, allowed)
    except Wrong as wrong:
        place.report(wrong.what, wrong.allowed)
        return {}


@dataclass(kw_only=True, slots=True)
class _Reader:
    """One reading of the file: problems gather in the document, those of variables in `variables`."""

    document: Document
    settings: Settings
    environ: Mapping[str, str]
    variables: list[Problem] = field(default_factory=list)
    inherited: dict[str, Stated] = field(default_factory=dict)  # what defaults: states

    def groups(self, section: Place | None) -> dict[str, Group]:
        """Every group by its name, ``default`` among them, with the limits that the environment sets."""
        listed: dict[str, dict[str, Stated]] = {}
        taken = {group_variable(DEFAULT_GROUP, LIMIT_SUFFIX): DEFAULT_GROUP}
        for name, place in _named(section, GROUPS_ALLOWED):
            variable = group_variable(name, LIMIT_SUFFIX)
            other = taken.setdefault(variable, name)
            if other != name:
                place.report(f"its variable {variable} is that of the group {other} too", "choose a name that differs in a letter or digit")
            listed[name] = {} if place.is_null else _stated(place, GROUP_FORMS, GROUPS_ALLOWED)
        listed.setdefault(DEFAULT_GROUP, {})
        overriding = self._group_variables(listed)
        return {name: self._group(name, own, overriding) for name, own in listed.items()}

    def _group(self, name: str, own: Mapping[str, Stated], overriding: Mapping[str, int]) -> Group:
        values: dict[str, Any] = {"limit": self.settings.default_group_limit}
        values |= usable(own)
        for key, suffix in (("limit", LIMIT_SUFFIX), ("requests_per_minute", RATE_SUFFIX)):
            if (variable := group_variable(name, suffix)) in overriding:
                values[key] = overriding[variable]
        return Group(name=name, **values)

    def _group_variables(self, groups: Iterable[str]) -> dict[str, int]:
        """The values of WINDROW_GROUP_<NAME>_...; one that names no group, or holds no positive number, is a problem."""
        known = sorted(group_variable(name, suffix) for name in groups for suffix in (LIMIT_SUFFIX, RATE_SUFFIX))
        listing = f"allowed: {GROUP_PREFIX}<NAME>{LIMIT_SUFFIX} and {GROUP_PREFIX}<NAME>{RATE_SUFFIX} of {', '.join(sorted(groups))}"
        found = {}
        for variable, value in sorted(self.settings.group_variables.items()):
            if variable not in known:
                suffix = RATE_SUFFIX if variable.endswith(RATE_SUFFIX) else LIMIT_SUFFIX
                stem = variable.removeprefix(GROUP_PREFIX).removesuffix(suffix)
                close = meant(stem, [group_variable(name, "").removeprefix(GROUP_PREFIX) for name in groups])
                self._wrong_variable(
                    variable,
                    f"{self.document.file} has no such group",
                    (f"did you mean {GROUP_PREFIX}{close}{suffix}? " if close else "") + listing,
                )
                continue
            try:
                found[variable] = whole_number(value)
            except ValueError as error:
                self._wrong_variable(variable, str(error), POSITIVE_ALLOWED)
        return found

    def _wrong_variable(self, variable: str, what: str, allowed: str) -> None:
        self.variables.append(Problem(file=ENVIRONMENT, line=None, path=variable, what=what, allowed=allowed))

    def defaults(self, section: Place | None, groups: Mapping[str, Group]) -> None:
        """Reads what sources say unless they say otherwise."""
        if section is None:
            return
        self.inherited = _stated(section, DEFAULT_FORMS, DEFAULTS_ALLOWED)
        self._check_secrets()
        self._check_group(self.inherited, groups)
        self._check_contradictions({}, self.inherited)

    def sources(self, section: Place | None, groups: Mapping[str, Group]) -> dict[str, Source]:
        """Every source by its name, without those that lack what they need."""
        found = {}
        for name, place in _named(section, SOURCES_ALLOWED):
            own = _stated(place, SOURCE_FORMS, SOURCES_ALLOWED)
            inherited = fitting(own, self.inherited)
            values = self._values(own, inherited)
            self._check_secrets(wanted=values["enabled"])
            self._check_group(own, groups)
            self._check_contradictions(own, inherited)
            if "url" in own:
                found[name] = Source(name=name, **{"url": "", **values})
            elif place.is_mapping:
                place.report("url is missing", URL_ALLOWED)
        return found

    def _values(self, own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> dict[str, Any]:
        """The values of a source, each from the first place that states it."""
        values = dict(BUILT_IN)
        values |= usable(inherited)
        values |= {key: getattr(self.settings, name) for key, name in FROM_ENVIRONMENT.items() if self.settings.states(name)}
        values |= usable(own)
        for key, mode in (("sweep_every", Deletions.SWEEP), ("full_every", Deletions.FULL)):
            if values["deletions"] is mode and values[key] is None:
                values[key] = WEEK
        return values

    def _check_contradictions(self, own: Mapping[str, Stated], inherited: Mapping[str, Stated]) -> None:
        for each in contradictions(own, inherited):
            each.place.report(each.what, each.allowed)

    def _check_group(self, own: Mapping[str, Stated], groups: Mapping[str, Group]) -> None:
        name = usable(own).get("group")
        if name is not None and name not in groups:
            own["group"].place.report(f"the group {shortened(name)} is not listed under groups:", one_of(groups, written=name))

    def _check_secrets(self, *, wanted: bool = True) -> None:
        """Every variable referred to since the last time must be set; the key of a library that is switched off may be gone."""
        for reference, place in self.document.take_references():
            if wanted and reference.scheme == "env" and not self.environ.get(reference.name):
                place.report(
                    f"the environment variable {reference.name} is not set", f"set {reference.name} before starting, or refer to another"
                )
