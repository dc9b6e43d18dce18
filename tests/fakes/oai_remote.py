"""A consortium in a process of its own, so that what is measured does not share an interpreter with its measure."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.fakes.oai_faults import Fault
from tests.fakes.oai_holdings import Truth
from tests.fakes.oai_repository import Repository

ROOT = Path(__file__).resolve().parents[2]


class RemoteConsortium:
    """The verbs of `oai.Consortium` over its control endpoints.

    Raises (all methods):
        ValueError: the server refused; its reason is the message.
    """

    def __init__(self, base: str, elsewhere: str = "", dead: str = "", pid: int | None = None) -> None:
        self.base = base
        self.elsewhere = elsewhere
        self.pid = pid
        self._dead = dead

    def __repr__(self) -> str:
        return f"<RemoteConsortium {self.base}>"

    def _ask(self, path: str, **given: Any) -> Any:
        body = json.dumps({name: value for name, value in given.items() if value is not None}).encode()
        request = urllib.request.Request(self.base + path, data=body, method="POST", headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["error"]) from None

    def url(self, name: str) -> str:
        return f"{self.base}/{name}/oai"

    def dead_url(self) -> str:
        return self._dead

    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self._ask("/_stats")
        return stats

    def reset_stats(self) -> None:
        self._ask("/_reset_stats")

    def log(self, name: str | None = None) -> list[dict[str, Any]]:
        """The last requests as dictionaries with the fields of `oai_statistics.LogEntry`."""
        entries: list[dict[str, Any]] = self._ask("/_log", name=name)
        return entries

    def fault(self, name: str | None, fault: Fault) -> int:
        return int(self._ask("/_fault", name=name, **fault.as_json()))

    def hits(self, handle: int) -> int:
        return int(self._ask("/_hits", handle=handle))

    def clear(self, name: str | None = None, handle: int | None = None) -> None:
        self._ask("/_clear", name=name, handle=handle)

    def hold(self, name: str | None = None) -> int:
        """Requests are taken in but not answered until `release`; returns the gate."""
        return int(self._ask("/_hold", name=name))

    def release(self, gate: int | None = None) -> None:
        """Opens one gate, or all."""
        self._ask("/_release", gate=gate)

    def serve(self, repository: Repository) -> str:
        self._ask("/_serve", **repository.as_json())
        return self.url(repository.name)

    def truth(self, name: str, *, prefix: str | None = None, of_set: str | None = None) -> dict[str, Truth]:
        held = self._ask("/_truth", name=name, prefix=prefix, of_set=of_set)
        return {identifier: Truth(datetime.fromisoformat(stamp), deleted, digest) for identifier, (stamp, deleted, digest) in held.items()}

    def live(self, name: str) -> list[int]:
        numbers: list[int] = self._ask("/_live", name=name)
        return numbers

    def _change(self, name: str, action: str, numbers: Iterable[int], backdated: datetime | None) -> None:
        self._ask("/_change", name=name, action=action, numbers=list(numbers), backdated=backdated and backdated.isoformat())

    def change(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        self._change(name, "change", numbers, backdated)

    def touch(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        self._change(name, "touch", numbers, backdated)

    def delete(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        self._change(name, "delete", numbers, backdated)

    def restore(self, name: str, numbers: Iterable[int], *, backdated: datetime | None = None) -> None:
        self._change(name, "restore", numbers, backdated)

    def vanish(self, name: str, numbers: Iterable[int]) -> None:
        self._change(name, "vanish", numbers, None)

    def add(self, name: str, count: int, *, backdated: datetime | None = None) -> list[int]:
        numbers: list[int] = self._ask("/_change", name=name, action="add", count=count, backdated=backdated and backdated.isoformat())
        return numbers

    def advance(self, name: str, seconds: float) -> None:
        self._ask("/_change", name=name, action="advance", seconds=seconds)

    def forget_tokens(self, name: str) -> None:
        self._ask("/_change", name=name, action="forget_tokens")


@contextlib.contextmanager
def spawn(
    repositories: Iterable[Repository | Mapping[str, Any]],
    faults: Iterable[Mapping[str, Any]] = (),
    *,
    port: int = 0,
    cache_megabytes: int = 64,
) -> Iterator[RemoteConsortium]:
    """Starts the consortium as a process, and ends it with SIGTERM.

    Args:
        repositories: values, or mappings as in a specification file (so that `repeat` works).
        faults: mappings as in a specification file.
        cache_megabytes: room for written pages.

    Raises:
        RuntimeError: it did not start; the message is what it wrote.
    """
    spec = {
        "repositories": [r.as_json() if isinstance(r, Repository) else dict(r) for r in repositories],
        "faults": [dict(f) for f in faults],
    }
    with tempfile.TemporaryDirectory(prefix="oai-") as folder:
        file = Path(folder) / "spec.json"
        file.write_text(json.dumps(spec), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.oai", "--spec", str(file), "--port", str(port), "--cache", str(cache_megabytes)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                _, errors = process.communicate(timeout=10)
                raise RuntimeError(f"the consortium did not start: {errors.strip()}")
            ready = json.loads(line)
            yield RemoteConsortium(ready["url"], ready["elsewhere"], ready["dead"], process.pid)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
