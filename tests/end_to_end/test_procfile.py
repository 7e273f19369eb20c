"""Each line of the Procfile works as a platform runs it: by a shell in the project's folder."""

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
    with new_installation(REDIS_URL=valkey.url, PORT=str(free_port()), WEB_CONCURRENCY="1") as made:
        made.env["PATH"] = f"{BIN}{os.pathsep}{made.env['PATH']}"
        yield made


@contextlib.contextmanager
def running(name: str, installation: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """The line as a platform runs it: ended by a signal to its whole group."""
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


def test_the_three_lines_carry_an_attachment(installation: Installation) -> None:
    assert set(LINES) == {"release", "web", "worker"}
    release = subprocess.run(
        ["/bin/sh", "-c", LINES["release"]], cwd=ROOT, env=installation.env, timeout=60, check=False
    )
    assert release.returncode == 0
    with (
        MediaServer({"photo.jpg": pictures.jpeg()}) as media,
        running("web", installation),
        running("worker", installation),
    ):
        wait_until(lambda: ready(installation), within_s=60)
        finished = installation.run("submit", media.url("photo.jpg"), "--wait", "--timeout", "60")
        assert finished.code == 0, finished.err
    said = [json.loads(line)["event"] for line in (installation.folder / "worker.log").read_text().splitlines()]
    assert said[0] == "worker started"  # and every line is JSON


def test_the_web_does_not_start_with_a_wrong_setting(installation: Installation) -> None:
    wrong = installation.with_settings(MEDIA_ATTEMPTS="none")
    finished = subprocess.run(
        ["/bin/sh", "-c", LINES["web"]],
        cwd=ROOT,
        env=wrong.env,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode != 0
    assert "MEDIA_ATTEMPTS 'none': Input should be a valid integer" in finished.stderr
    assert "Traceback" not in finished.stderr
