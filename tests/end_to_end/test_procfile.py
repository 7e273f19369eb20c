"""The lines of the Procfile, run by a shell in the project's folder, as a platform does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import BIN, Installation, new_installation
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
LINES = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)


@pytest.fixture
def installation(valkey: ValkeyServer) -> Iterator[Installation]:
    with new_installation(REDIS_URL=valkey.url, PORT=str(free_port()), WEB_CONCURRENCY="1") as installation:
        installation.env["PATH"] = f"{BIN}{os.pathsep}{installation.env['PATH']}"
        yield installation


@contextlib.contextmanager
def procfile_process(name: str, installation: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a line of the Procfile for the length of the block; SIGTERM to its process group ends it."""
    with (installation.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", LINES[name]],
            cwd=ROOT,
            env=installation.env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def ready(installation: Installation) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{installation.env['PORT']}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_procfile_processes_an_attachment(installation: Installation) -> None:
    assert set(LINES) == {"release", "web", "worker"}
    release = subprocess.run(
        ["/bin/sh", "-c", LINES["release"]], cwd=ROOT, env=installation.env, timeout=60, check=False
    )
    assert release.returncode == 0
    with (
        MediaServer({"photo.jpg": pictures.jpeg()}) as media,
        procfile_process("web", installation),
        procfile_process("worker", installation),
    ):
        wait_until(lambda: ready(installation), within_s=60)
        finished = installation.run("submit", media.url("photo.jpg"), "--wait", "--timeout", "60")
        assert finished.code == 0, finished.err
    events = [json.loads(line)["event"] for line in (installation.folder / "worker.log").read_text().splitlines()]
    assert events[0] == "worker started"  # and every line is JSON


def test_web_does_not_start_with_an_invalid_setting(installation: Installation) -> None:
    invalid = installation.with_settings(MEDIA_ATTEMPTS="none")
    finished = subprocess.run(
        ["/bin/sh", "-c", LINES["web"]],
        cwd=ROOT,
        env=invalid.env,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode != 0
    assert "MEDIA_ATTEMPTS 'none': Input should be a valid integer" in finished.stderr
    assert "Traceback" not in finished.stderr
