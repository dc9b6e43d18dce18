"""The holdings of one running repository: which records there are, since when, deleted or not, in which sets.

All state is three arrays indexed by the number of the record, and sorted keys made from them; a million records take some 30 MB.
A key is `datestamp << SHIFT | number`, so a list is a slice and a position in it survives any change of the records before it.
"""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tests.fakes.oai_records import Records
from tests.fakes.oai_repository import DAYS, Repository

SHIFT: Final = 24  # bits of a key that hold the number: up to 16 million records in a repository
MASK: Final = (1 << SHIFT) - 1
DAY: Final = 86_400  # seconds

LIVE, DELETED, GONE = 0, 1, 2


class Truth(NamedTuple):
    """What a perfect harvest holds of one record.

    `digest` is the SHA-256 (hexadecimal) of the bytes of the content of `<metadata>`, None for a tombstone.
    """

    datestamp: datetime
    deleted: bool
    digest: str | None


class Clock:
    """The clock of one server: ours plus an offset, or frozen; `advance` moves it."""

    def __init__(self, offset: float, frozen: datetime | None) -> None:
        self._offset = offset
        self._frozen = None if frozen is None else frozen.timestamp()

    def now(self) -> float:
        """Seconds since the epoch, as this server believes. A frozen clock is off by its offset too."""
        return (time.time() if self._frozen is None else self._frozen) + self._offset

    def advance(self, seconds: float) -> None:
        """Moves the clock, forwards or backwards."""
        self._offset += seconds


class Holdings:
    """The records of one repository and the only place that changes them."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.clock = Clock(repository.clock_offset, repository.frozen_now)
        self.records = Records(repository.name, repository.seed, repository.record_bytes, repository.payload)
        self.revision = 0  # grows with every change
        self._salt = zlib.crc32(f"{repository.name}/{repository.seed}".encode())
        self._stamps = array("q")
        self._versions = array("L")
        self._states = bytearray()
        self._keys: dict[str | None, array[int]] = {}
        self._fill()

    def __repr__(self) -> str:
        live, deleted = self._states.count(LIVE), self._states.count(DELETED)
        return f"<Holdings {self.repository.name}: {live} live, {deleted} deleted, {self._states.count(GONE)} gone>"

    def _fill(self) -> None:
        count = self.repository.records
        if not count:
            return
        first = int(self.repository.earliest.timestamp())
        span = int(self.repository.latest.timestamp()) - first
        # The order of the datestamps is a shuffle of the numbers: i -> (i * step + start) mod count, step and count without common factor.
        step = next(n for n in range(self._salt % count | 1, 3 * count + 3, 2) if math.gcd(n, count) == 1)
        start, last = self._salt % count, max(1, count - 1)
        self._stamps.extend(self._floor(first + (number * step + start) % count * span // last) for number in range(count))
        self._versions.extend([1] * count)
        bound = round(self.repository.deleted_share * 10_000)
        fate = GONE if self.repository.deleted_record == "no" else DELETED
        # Fibonacci hashing spreads the tombstones evenly over the numbers.
        self._states.extend(
            fate if ((number + 1) * 2_654_435_761 + self._salt) % (1 << 32) * 10_000 >> 32 < bound else LIVE for number in range(count)
        )

    def _floor(self, stamp: int) -> int:
        return stamp - stamp % DAY if self.repository.granularity == DAYS else stamp

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def order(self, of_set: str | None = None) -> array[int]:
        """All keys in the order of lists (datestamp, then number), of one set or of all."""
        if of_set not in self._keys:
            numbers: Iterable[int] = (n for n, state in enumerate(self._states) if state != GONE)
            if of_set is not None:
                numbers = (n for n in numbers if self._belongs(n, of_set))
            self._keys[of_set] = array("q", sorted(self._stamps[n] << SHIFT | n for n in numbers))
        return self._keys[of_set]

    def _belongs(self, number: int, of_set: str) -> bool:
        return any(spec == of_set or spec.startswith(of_set + ":") for spec in self.sets_of(number))

    def sets_of(self, number: int) -> tuple[str, ...]:
        """The sets of a record: one in turn, and for every seventh record the next one too."""
        sets = self.repository.sets
        if not sets:
            return ()
        own = number % len(sets)
        return (sets[own], sets[(own + 1) % len(sets)]) if number % 7 == 0 and len(sets) > 1 else (sets[own],)

    def exists(self, number: int) -> bool:
        return 0 <= number < len(self._states) and self._states[number] != GONE

    def is_deleted(self, number: int) -> bool:
        return self._states[number] == DELETED

    def stamp(self, number: int) -> int:
        """Datestamp in seconds since the epoch, at the repository's granularity."""
        return self._stamps[number]

    def payload(self, number: int, prefix: str) -> bytes:
        return self.records.payload(number, self._versions[number], prefix)

    def number(self, identifier: str) -> int | None:
        """The number behind an identifier; None when this repository has no such record (any more)."""
        _head, _, digits = identifier.rpartition(":")
        if not digits.isdecimal() or len(digits) > 8:
            return None
        number = int(digits)
        return number if identifier == self.repository.identifier(number) and self.exists(number) else None

    def live(self) -> list[int]:
        """The numbers of the records that are neither deleted nor gone."""
        return [number for number, state in enumerate(self._states) if state == LIVE]

    def truth(self, prefix: str | None = None, of_set: str | None = None) -> dict[str, Truth]:
        """What a perfect harvest holds now, by identifier."""
        prefix = prefix or self.repository.formats[0]
        held: dict[str, Truth] = {}
        for key in self.order(of_set):
            number = key & MASK
            deleted = self.is_deleted(number)
            digest = None if deleted else hashlib.sha256(self.payload(number, prefix)).hexdigest()
            held[self.repository.identifier(number)] = Truth(datetime.fromtimestamp(key >> SHIFT, UTC), deleted, digest)
        return held

    def index(self, key: int, of_set: str | None = None) -> int:
        """The place of the first key not below `key`."""
        return bisect_left(self.order(of_set), key)

    # -- changing --------------------------------------------------------------------------------------------------------------

    def _stamp_all(self, numbers: Iterable[int], backdated: datetime | None, *, gone_too: bool = False) -> list[int]:
        chosen = sorted(set(numbers))
        for number in chosen:
            if not 0 <= number < len(self._states) or (self._states[number] == GONE and not gone_too):
                raise ValueError(f"repository {self.repository.name} has no record {number}: it never had, or it vanished")
        moment = self._floor(int(self.clock.now() if backdated is None else backdated.timestamp()))
        for number in chosen:
            self._stamps[number] = moment
        self._keys.clear()
        self.revision += 1
        return chosen

    def change(self, numbers: Iterable[int], backdated: datetime | None = None) -> None:
        """New content and datestamp. A tombstone stays one, with the new datestamp.

        Raises:
            ValueError: there is no such record.
        """
        for number in self._stamp_all(numbers, backdated):
            self._versions[number] += 1

    def touch(self, numbers: Iterable[int], backdated: datetime | None = None) -> None:
        """New datestamp, same content. Raises ValueError when there is no such record."""
        self._stamp_all(numbers, backdated)

    def delete(self, numbers: Iterable[int], backdated: datetime | None = None) -> None:
        """Makes tombstones; in a repository without deleted records they vanish. Raises ValueError when there is no such record."""
        fate = GONE if self.repository.deleted_record == "no" else DELETED
        for number in self._stamp_all(numbers, backdated):
            self._states[number] = fate

    def restore(self, numbers: Iterable[int], backdated: datetime | None = None) -> None:
        """Brings deleted or vanished records back with the content they had. Raises ValueError when there never was such a record."""
        for number in self._stamp_all(numbers, backdated, gone_too=True):
            self._states[number] = LIVE

    def vanish(self, numbers: Iterable[int]) -> None:
        """Takes records away without a trace. Raises ValueError when there is no such record."""
        chosen = sorted(set(numbers))
        for number in chosen:
            if not self.exists(number):
                raise ValueError(f"repository {self.repository.name} has no record {number}: it never had, or it vanished")
        for number in chosen:
            self._states[number] = GONE
        self._keys.clear()
        self.revision += 1

    def add(self, count: int, backdated: datetime | None = None) -> range:
        """New records after the highest number; returns their numbers."""
        first = len(self._states)
        self._stamps.extend([0] * count)
        self._versions.extend([1] * count)
        self._states.extend(bytes(count))
        self._stamp_all(range(first, first + count), backdated)
        return range(first, first + count)
