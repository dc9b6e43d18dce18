"""What is inside a file: the file itself, its gzip content, or the members of a zip, as streams that can seek.

Nothing is ever unpacked to a place that an archive names. An archive whose names wander (absolute, or with ``..``) is
refused as a whole, and so is one that unpacks to more than allowed, or to more than `RATIO` times its size: real
records in XML shrink to a twentieth, bombs to a thousandth.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, Final

from flows.catalog.feeds.errors import Spoilt

RATIO: Final = 200  # times: unpacked against packed
UNSUSPICIOUS: Final = 64 * 2**20  # bytes that may come out of anything: small and repetitive files shrink a lot
MEMBERS: Final = 100_000  # in one zip
ENCRYPTED: Final = 0x1
ZIP: Final = b"PK\x03\x04"
GZIP: Final = b"\x1f\x8b"
DAMAGED: Final = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, RuntimeError)


class _Bounded(io.RawIOBase):
    """A stream that is read no further than allowed."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int, name: str) -> None:
        super().__init__()
        self._stream, self._limit, self._name = stream, limit, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        try:
            found = self._stream.read(len(buffer))
            if self._stream.tell() > self._limit:
                raise Spoilt(f"{self._name} unpacks to more than {self._limit:,} bytes; if that is right, raise unpacked_limit")
        except DAMAGED as error:
            raise Spoilt(f"{self._name} is damaged: {error}") from error
        buffer[: len(found)] = found
        return len(found)


@contextmanager
def opened(path: Path, name: str, *, limit: int) -> Iterator[Iterator[tuple[str, BinaryIO]]]:
    """The members of the file at ``path``, which is called ``name``: their names for people, and their content.

    Raises Spoilt for what cannot or must not be unpacked. A member can be read until the next one is asked for.
    """
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(0)
        allowed = min(limit, max(UNSUSPICIOUS, path.stat().st_size * RATIO))
        if head == ZIP or name.lower().endswith(".zip"):
            yield _zipped(stream, name, limit=limit)
        elif head[:2] == GZIP:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield iter([(name, io.BufferedReader(_Bounded(unpacked, allowed, name)))])
        else:
            yield iter([(name, stream)])


def _zipped(stream: BinaryIO, name: str, *, limit: int) -> Iterator[tuple[str, BinaryIO]]:
    try:
        with zipfile.ZipFile(stream) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            _check(members, name, limit)
            for member in sorted(members, key=lambda each: each.filename):
                if member.filename.startswith("__MACOSX/") or member.filename.rpartition("/")[2].startswith("."):
                    continue
                with archive.open(member) as content:
                    called = f"{name}: {member.filename}"
                    yield called, io.BufferedReader(_Bounded(content, member.file_size, called))
    except DAMAGED as error:
        raise Spoilt(f"{name} is damaged: {error}") from error


def _check(members: list[zipfile.ZipInfo], name: str, limit: int) -> None:
    if len(members) > MEMBERS:
        raise Spoilt(f"{name} has {len(members):,} members; more than {MEMBERS:,} are not read")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in member.orig_filename:
            raise Spoilt(f"{name} has a member whose name leads out of it ({member.filename[:80]!r}); none of it is read")
        if member.flag_bits & ENCRYPTED:
            raise Spoilt(f"{name} is encrypted; ask for files that are not")
        if member.filename.lower().endswith(".zip"):
            raise Spoilt(f"{name} has a zip inside ({member.filename[:80]!r}); ask for one that is not packed twice")
    unpacked, packed = sum(each.file_size for each in members), sum(each.compress_size for each in members)
    if unpacked > limit:
        raise Spoilt(f"{name} unpacks to {unpacked:,} bytes; unpacked_limit allows {limit:,}")
    if unpacked > max(UNSUSPICIOUS, packed * RATIO):
        raise Spoilt(f"{name} unpacks {packed:,} bytes to {unpacked:,}; that is what bombs do")
