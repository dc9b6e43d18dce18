"""Tokens in place of patron identifiers: HMAC-SHA256 under a key of its own version, in full length.

The same identifier gives the same token under the same key, so that counts and joins still work; nobody without the key
can try out all barcodes. Unsalted or shortened hashes can be tried out, and are not offered.

::

    Exception
    └── KeyRefused      the key cannot be used; says why, never the key
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

SHORTEST_KEY: Final = 32  # characters: 128 bits even when they are hexadecimal digits
VERSION: Final = re.compile(r"[A-Za-z0-9]{1,16}")
FIRST_VERSION: Final = "1"
TOKEN: Final = re.compile(r"token:[A-Za-z0-9]{1,16}:[0-9a-f]{64}")


class KeyRefused(Exception):
    """The key of the tokens cannot be used."""


class Tokeniser:
    """Makes tokens under one key."""

    __slots__ = ("_key", "version")

    def __init__(self, key: str, version: str = FIRST_VERSION) -> None:
        if len(key) < SHORTEST_KEY or len(set(key)) < 8:
            raise KeyRefused(
                f"the key of the tokens must have at least {SHORTEST_KEY} random characters; make one with: openssl rand -hex 32"
            )
        if not VERSION.fullmatch(version):
            raise KeyRefused("the version of the key must be up to 16 letters and digits; write the secret as VERSION:KEY")
        self._key = key.encode()
        self.version = version

    @classmethod
    def read(cls, secret: str) -> Tokeniser:
        """The tokeniser of a secret written ``VERSION:KEY``, or ``KEY`` for version 1. KeyRefused when it cannot be used."""
        version, colon, key = secret.strip().partition(":")
        return cls(key, version) if colon else cls(version)

    def token(self, value: str) -> str:
        """The token of a value: ``token:VERSION:`` and 64 hexadecimal digits. Case and blanks around it make no difference."""
        digest = hmac.new(self._key, value.strip().casefold().encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"token:{self.version}:{digest}"

    def __repr__(self) -> str:
        return f"<Tokeniser: key version {self.version}>"
