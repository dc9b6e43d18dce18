"""Resumption tokens of one repository: where a list goes on, in the three manners that servers have."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import astuple, dataclass, replace
from typing import Final

from tests.fakes.oai_holdings import Clock
from tests.fakes.oai_repository import Repository

EVER: Final = 1 << 62  # above every key


class BadToken(Exception):
    """The token is unknown, used, damaged or too old; the text says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where a list stands: its arguments, and how far it is.

    `low` and `high` bound the keys of the list (high excluded), `after` is the key of the last record handed out, `cursor` how many
    were, `page` the number of the page that this position leads to, from 1; `issued` is the server's time when the token was made,
    0 when tokens do not expire; `end` marks the token of a list that has no more records but has not said so.
    """

    verb: str
    prefix: str
    of_set: str | None
    low: int
    high: int
    after: int = -EVER
    cursor: int = 0
    page: int = 1
    issued: float = 0.0
    end: bool = False


class Tokens:
    """Makes and reads the tokens of one repository."""

    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        self._kept: dict[str, Position] = {}
        self._serial = 0

    def issue(self, position: Position) -> str:
        """The token that leads to `position`."""
        if self._repository.token_seconds is not None:
            position = replace(position, issued=self._clock.now())
        if self._repository.token == "stateless":
            body = json.dumps(astuple(position), separators=(",", ":")).encode()
            return base64.urlsafe_b64encode(b"%08x" % zlib.crc32(body) + body).decode()
        if self._repository.token == "single-use":
            self._serial += 1
            name = f"{self._repository.name}:{self._serial}"
        else:
            asked = f"{position.verb}/{position.prefix}/{position.of_set}/{position.low}/{position.high}"
            name = f"{self._repository.name}:list:{zlib.crc32(asked.encode()):08x}"
        self._kept[name] = position
        return name

    def peek(self, token: str) -> Position | None:
        """Where a token leads, without using it up; None when nowhere."""
        try:
            return self._find(token)
        except BadToken:
            return None

    def use(self, token: str) -> Position:
        """Where a token leads; a single-use token is worthless afterwards.

        Raises:
            BadToken: it leads nowhere.
        """
        position = self._find(token)
        life = self._repository.token_seconds
        if life is not None and self._clock.now() >= position.issued + life:
            raise BadToken("The resumption token has expired")
        if self._repository.token == "single-use":
            del self._kept[token]
        return position

    def give_back(self, token: str, position: Position) -> None:
        """Makes a used token lead to where it led: the answer failed inside the server, nothing was handed out."""
        if self._repository.token != "stateless":
            self._kept[token] = position

    def drop(self, token: str) -> None:
        """Makes a kept token worthless."""
        self._kept.pop(token, None)

    def forget(self) -> None:
        """Drops every kept token, as a restart of the server does. Stateless tokens survive it."""
        self._kept.clear()

    def _find(self, token: str) -> Position:
        if self._repository.token != "stateless":
            if token not in self._kept:
                raise BadToken("The resumption token is unknown, or was used before")
            return self._kept[token]
        try:
            text = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            if int(text[:8], 16) != zlib.crc32(text[8:]):
                raise BadToken("The resumption token is damaged")
            values = json.loads(text[8:])
        except (ValueError, UnicodeError) as error:
            raise BadToken("The resumption token cannot be read") from error
        return Position(**dict(zip(Position.__dataclass_fields__, values, strict=True)))
