"""Secrets by reference: the configuration says where a secret is kept, never what it is.

``env:NAME`` is an environment variable; ``prefect:NAME`` is a Prefect Secret block, which only a flow can read and
which the flow therefore brings along as a resolver.

::

    Exception
    └── SecretError     a reference that nobody can resolve; names the reference, never a value
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Scheme: TypeAlias = Literal["env", "prefect"]
Resolvers: TypeAlias = Mapping[str, Callable[[str], str]]

SCHEMES: Final[tuple[str, ...]] = get_args(Scheme)
REFERENCE_PATTERN: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|prefect:[a-zA-Z0-9][a-zA-Z0-9_-]*)$"
REFERENCE_ALLOWED: Final = "write env:NAME for an environment variable or prefect:NAME for a Prefect Secret block"


class SecretError(Exception):
    """A secret cannot be read. `reference` says which one; its value is in no message."""

    def __init__(self, reference: str, why: str) -> None:
        self.reference = reference
        super().__init__(f"{reference}: {why}")


def from_environment(name: str) -> str:
    """The value of the environment variable `name`; SecretError when it is not set or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise SecretError(f"env:{name}", f"the environment variable {name} is not set; set it before starting")
    return value


def only_inside_prefect(name: str) -> str:
    """The resolver of ``prefect:`` where there is no flow: always SecretError."""
    raise SecretError(
        f"prefect:{name}", "Prefect Secret blocks can be read only inside a Prefect flow; run the deployment, or write env:NAME instead"
    )


OUTSIDE_PREFECT: Final[Resolvers] = {"env": from_environment, "prefect": only_inside_prefect}


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretRef:
    """Where a secret is kept. Neither ``repr`` nor ``str`` nor a digest of it ever holds the secret itself."""

    scheme: Scheme
    """``env`` or ``prefect``."""
    name: str
    """The variable's or the block's name."""

    @classmethod
    def read(cls, text: str) -> SecretRef | None:
        """The reference that `text` is; None when it is anything else."""
        if not re.fullmatch(REFERENCE_PATTERN, text, re.ASCII):
            return None
        scheme, _, name = text.partition(":")
        return cls(scheme="env" if scheme == "env" else "prefect", name=name)

    def resolve(self, resolvers: Resolvers = OUTSIDE_PREFECT) -> str:
        """The secret itself. SecretError when no resolver knows it."""
        resolver = resolvers.get(self.scheme)
        if resolver is None:
            known = ", ".join(sorted(resolvers)) or "none"
            raise SecretError(str(self), f"nothing here reads {self.scheme}: references (known: {known})")
        return resolver(self.name)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"

    def __repr__(self) -> str:
        return f"<SecretRef {self}>"
