"""A Prefect server of the tests' own: a process on loopback with a home and a database in a temporary folder.

Import this before anything that imports prefect: it keeps Prefect away from the developer's own home and server.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 90.0  # on a busy machine; 11 s on an idle one
HOME: Final = Path(tempfile.mkdtemp(prefix="windrow-prefect-"))
ENVIRONMENT: Final = {
    "PREFECT_HOME": str(HOME),
    "PREFECT_PROFILES_PATH": str(HOME / "profiles.toml"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
}
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[_name]
os.environ.update(ENVIRONMENT)


@cache
def api_url() -> str:
    """The address of the server, which is started when it is first asked for and stopped when the tests are over."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (HOME / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "PREFECT_API_URL": ""},
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=HOME,
    )
    log.close()
    atexit.register(_stop, process)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return url
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Prefect server did not start: {(HOME / 'server.log').read_text()[-2000:]}") from None
            time.sleep(0.1)


def create_work_pool(name: str) -> None:
    """As ``prefect work-pool create NAME --type process`` does; fine also where it exists."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.workers.process import ProcessWorker

    with temporary_settings({PREFECT_API_URL: api_url()}), get_client(sync_client=True) as client:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template), overwrite=True)


@cache
def deploy_all() -> None:
    """``prefect deploy --all`` with the project's ``prefect.yaml`` and nothing beside it; once in a session."""
    create_work_pool("windrow")
    folder = HOME / "deploy"
    folder.mkdir()
    shutil.copy(ROOT / "prefect.yaml", folder)
    status, said = command("deploy", "--all", cwd=folder)
    if status != 0:
        raise AssertionError(f"prefect deploy --all ended with {status}: {said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Run ``prefect ...`` against the server; exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env={**os.environ, "PREFECT_API_URL": api_url()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout
