"""Durations and sizes as people write them: ``90``, ``2m``, ``1h30m``, ``30d``; ``64MiB``, ``500 kB``."""

from __future__ import annotations

import re
from typing import Final

from harvester.problems import shortened

SECONDS: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
LONGEST: Final = 36500 * SECONDS["d"]  # seconds: a hundred years, far inside what datetime can add
DURATION_PATTERN: Final = r"^(\d+(\.\d+)?|(\d+(\.\d+)?(w|d|h|ms|m|s))+)$"
DURATION_ALLOWED: Final = "allowed: seconds, or numbers with the units w, d, h, m, s, ms, such as 90, 2m, 1h30m or 30d"

BYTES: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
LARGEST: Final = 2**40  # bytes
SIZE_PATTERN: Final = r"^\d+ ?(([kKmMgG][iI]?)?[bB])?$"
SIZE_ALLOWED: Final = "allowed: bytes, or a whole number with the unit kB, MB, GB, KiB, MiB or GiB, such as 64MiB"

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])?", re.ASCII)
_SIZE: Final = re.compile(r"(\d+) ?([kmg]?i?b|)", re.ASCII)


def seconds(text: str) -> float:
    """The duration that `text` says, in seconds. ValueError (with a message for people) when it says none."""
    written = text.strip().lower()
    if not re.fullmatch(DURATION_PATTERN, written, re.ASCII):
        raise ValueError(f"{shortened(text)} is not a duration")
    parts = _PART.findall(written)
    total = sum(float(number) * SECONDS[unit or "s"] for number, unit in parts)
    if total > LONGEST:
        raise ValueError(f"{shortened(text)} is longer than a hundred years")
    return total


def size(text: str) -> int:
    """The number of bytes that `text` says. ValueError (with a message for people) when it says none."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{shortened(text)} is not a size")
    total = int(found[1][:20]) * BYTES[found[2]] if found[2] in BYTES else 0
    if not 0 < total <= LARGEST:
        raise ValueError(f"{shortened(text)} is not between 1 byte and 1 TiB")
    return total


def spoken(duration: float) -> str:
    """A duration in seconds as short as it can be written without losing anything.

    >>> spoken(5400), spoken(120), spoken(0.5), spoken(0)
    ('1h30m', '2m', '500ms', '0s')
    """
    rest = round(duration * 1000)
    words = []
    for unit, scale in (("d", 86400000), ("h", 3600000), ("m", 60000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, scale)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"
