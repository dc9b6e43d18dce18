"""Every environment variable of Windrow, typed, with its default, unit and meaning.

The environment wins over ``sources.yaml``: a group's variable over the limit in the file, and `PAUSE_*`,
`HARVEST_INTERVAL` and `PAGE_BYTES_LIMIT` over ``defaults:``. What a single source says about itself stands, because it
is an exception somebody has thought about. A value that cannot be used is a `ConfigurationError` that names the variable.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from harvester import durations
from harvester.problems import ENVIRONMENT, ConfigurationError, Problem, one_of, shortened
from harvester.sources import PauseMode

PREFIX: Final = "WINDROW_"
GROUP_PREFIX: Final = "WINDROW_GROUP_"
LIMIT_SUFFIX: Final = "_LIMIT"
RATE_SUFFIX: Final = "_REQUESTS_PER_MINUTE"
LARGEST_COUNT: Final = 10**9
POSITIVE_ALLOWED: Final = "allowed: a whole number from 1"
COUNT_ALLOWED: Final = "allowed: a whole number from 0"

T = TypeVar("T")


def whole_number(value: object, *, least: int = 1) -> int:
    """`value` as a whole number from `least` on, given as such or as its digits. ValueError for anything else.

    Neither ``true`` nor ``2.0`` nor an empty text is a number here: a limit that was mistyped must not become 1.
    """
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,10}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_COUNT:
        raise ValueError(f"{shortened(str(value))} is not a {'positive ' if least == 1 else ''}whole number")
    return value


def _count(value: object) -> int:
    return whole_number(value, least=0)


def _any_number(value: object) -> int | None:
    return None if value is None else whole_number(value, least=-LARGEST_COUNT)


def _duration(value: object) -> float:
    return durations.seconds(value if isinstance(value, str) else str(value))


def _positive_duration(value: object) -> float:
    found = _duration(value)
    if found <= 0:
        raise ValueError(f"{shortened(str(value))} is no time at all")
    return found


def _size(value: object) -> int:
    return durations.size(value if isinstance(value, str) else str(value))


def _mode(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _path(value: object) -> Path:
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("it is empty")
    return Path(str(value)).expanduser()


def _database(value: object) -> object:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not re.match(r"postgres(ql)?(\+psycopg)?://.", value):
        raise ValueError("it is no PostgreSQL URL")  # the value may hold a password, so it is not repeated
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """What a variable may hold, as the second half of a problem, and in what unit."""

    text: str
    unit: str = ""


Positive = Annotated[int, BeforeValidator(whole_number), Allowed(text=POSITIVE_ALLOWED)]
Count = Annotated[int, BeforeValidator(_count), Allowed(text=COUNT_ALLOWED, unit="records")]
Duration = Annotated[float, BeforeValidator(_duration), Allowed(text=durations.DURATION_ALLOWED, unit="seconds")]
PositiveDuration = Annotated[float, BeforeValidator(_positive_duration), Allowed(text=durations.DURATION_ALLOWED, unit="seconds")]
Size = Annotated[int, BeforeValidator(_size), Allowed(text=durations.SIZE_ALLOWED, unit="bytes")]
Place = Annotated[Path, BeforeValidator(_path), Allowed(text="allowed: a path")]


class _GroupVariables(PydanticBaseSettingsSource):
    """Collects the variables whose names contain the name of a group, which no fixed list of fields can know."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(GROUP_PREFIX)}
        return {"group_variables": found}


class Settings(BaseSettings):
    """The environment as values. ``Settings(total_limit=2)`` overrides it in a test; `Settings.load` is the way in."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=False)

    database_url: Annotated[
        str | None,
        BeforeValidator(_database),
        Allowed(text="allowed: postgresql://user:password@host:5432/database, or nothing for the embedded server"),
    ] = Field(
        default=None, repr=False, description="The PostgreSQL database; when it is not set or empty, an embedded server under WINDROW_HOME."
    )
    home: Place = Field(
        default_factory=lambda: user_data_path("windrow"),
        description="The folder of the embedded database and of local state; by default the user's data folder.",
    )
    sources: Place = Field(default=Path("sources.yaml"), description="The file that lists groups and sources.")
    policies: Place | None = Field(
        default=None, description="The file of policies (policies.yaml); without it, MARC 21 and the shipped allow-list alone decide."
    )
    default_group_limit: Positive = Field(
        default=2,
        description="Requests in flight for each group whose limit is stated nowhere else, and for the group default.",
        json_schema_extra={"unit": "requests"},
    )
    total_limit: Positive = Field(default=64, description="Requests in flight over all groups.", json_schema_extra={"unit": "requests"})
    harvest_interval: PositiveDuration = Field(default=120.0, description="From one pass of a source to the next.")
    pause_after_records: Count = Field(default=10_000, description="A source that received more than this pauses; 0: no pauses.")
    pause_seconds: Duration = Field(default=120.0, description="How long a pause lasts.")
    pause_mode: Annotated[PauseMode, BeforeValidator(_mode), Allowed(text="allowed: fixed, vacuum")] = Field(
        default=PauseMode.FIXED, description="What ends a pause: its time (fixed) or autovacuum having caught up (vacuum)."
    )
    page_bytes_limit: Size = Field(default=64 * 2**20, description="The largest page after decompression.")
    seed: Annotated[int | None, BeforeValidator(_any_number), Allowed(text="allowed: a whole number")] = Field(
        default=None, description="Makes the random choice of the next source repeatable; for tests and simulations."
    )
    group_variables: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="WINDROW_GROUP_<NAME>_... as found; checked against the groups when the sources are loaded."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win, then the environment; no dotenv file is read behind anybody's back."""
        return init_settings, _GroupVariables(settings_cls), env_settings

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """The settings of this process. ConfigurationError with every variable that is wrong."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise ConfigurationError(map(_problem, error.errors(include_url=False))) from None

    def states(self, name: str) -> bool:
        """Was `name` set, rather than left at its default?"""
        return name in self.model_fields_set


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """One environment variable, for help texts and the documentation."""

    name: str
    default: str
    unit: str
    allowed: str
    meaning: str


def variables() -> tuple[Variable, ...]:
    """Every variable that Windrow's harvester reads, in the order in which people need them."""
    listed = []
    for name, field in Settings.model_fields.items():
        if name != "group_variables":
            allowed = _allowed(field)
            listed.append(
                Variable(
                    name=PREFIX + name.upper(),
                    default=_default(name, field),
                    unit=_unit(field),
                    allowed=allowed.text.removeprefix("allowed: "),
                    meaning=field.description or "",
                )
            )
    for suffix, unit, meaning in (
        (LIMIT_SUFFIX, "requests", "Requests in flight for the group NAME (hosted-folio is HOSTED_FOLIO); wins over the file."),
        (RATE_SUFFIX, "requests", "Requests that start in a minute for the group NAME; wins over the file."),
    ):
        listed.append(
            Variable(
                name=f"{GROUP_PREFIX}<NAME>{suffix}",
                default="",
                unit=unit,
                allowed=POSITIVE_ALLOWED.removeprefix("allowed: "),
                meaning=meaning,
            )
        )
    return tuple(listed)


def group_variable(group: str, suffix: str) -> str:
    """The name of a group's variable: ``hosted-folio`` and ``_LIMIT`` give ``WINDROW_GROUP_HOSTED_FOLIO_LIMIT``."""
    return GROUP_PREFIX + re.sub(r"[^A-Z0-9]", "_", group.upper()) + suffix


def _problem(error: ErrorDetails) -> Problem:
    name = str(error["loc"][0])
    field = Settings.model_fields.get(name)
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] != "value_error":  # pydantic's own wording says what is allowed, and that is said already
        what = f"{shortened(str(error['input']))} cannot be used"
    allowed = _allowed(field).text if field else one_of(Settings.model_fields, written=name)
    return Problem(file=ENVIRONMENT, line=None, path=PREFIX + name.upper(), what=what, allowed=allowed)


def _allowed(field: FieldInfo) -> Allowed:
    return next((each for each in field.metadata if isinstance(each, Allowed)), Allowed(text="allowed: text"))


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else _allowed(field).unit


def _default(name: str, field: FieldInfo) -> str:
    value = field.get_default()
    if name == "home":
        return "the user's data folder"
    if _allowed(field).unit == "seconds":
        return durations.spoken(value)
    if name == "page_bytes_limit":
        return f"{value // 2**20}MiB"
    return "" if value is None else str(value)
