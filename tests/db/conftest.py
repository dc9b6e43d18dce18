"""A second embedded server, for the tests that stop, restart or kill one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.cluster import SETTINGS
from db.embedded import Embedded


@pytest.fixture(scope="session")
def spare(short_tmp: Path) -> Iterator[Embedded]:
    """One home for all of them; a test may leave it stopped or crashed, so each starts it first."""
    server = Embedded(home=short_tmp / "spare")
    server.start({**SETTINGS, "fsync": "off", "shared_buffers": "32MB"})
    yield server
    server.stop("immediate")
