"""A web app that is started again whenever it dies, on the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.request import urlopen

from tests.support.system import ROOT, RunningSystem
from tests.support.valkey import free_port
from tests.support.waiting import wait_until

AWAY_S = 1.0  # between a death and the next start


class RestartedWeb:
    """The web app at `url`. `pid_file` has the process group of the running one, for those who kill it."""

    def __init__(self, system: RunningSystem, **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.pid_file = system.folder / "web.pid"
        self.log = system.folder / "restarted-web.log"
        self.starts = 0
        self._env = system.env | {"PORT": str(port), "DASHBOARD": "false", **settings}
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        wait_until(self._answers, 60)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _answers(self) -> bool:
        try:
            return bool(urlopen(f"{self.url}/healthz", timeout=2).status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        self._ended.set()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            with self.log.open("ab") as out:
                command = [sys.executable, "-m", "esteira.web"]
                self._process = subprocess.Popen(
                    command, cwd=ROOT, env=self._env, stdout=out, stderr=out, start_new_session=True
                )
            self.pid_file.write_text(str(self._process.pid))
            self.starts += 1
            self._process.wait()
            self._ended.wait(AWAY_S)


@contextlib.contextmanager
def restarted_web(system: RunningSystem, **settings: str) -> Iterator[RestartedWeb]:
    """The web app with the settings of a system and these, once it answers."""
    web = RestartedWeb(system, **settings)
    try:
        web.start()
        yield web
    finally:
        web.stop()
