"""The web app on a socket that its starter holds, as systemd starts it from esteira-web.socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.system import ROOT, RunningSystem
from tests.support.web_server import SECRETS, WITHOUT_DASHBOARD, WebServer

# The process that systemd forks: the socket is descriptor 3, LISTEN_PID is its own (sd_listen_fds(3)).
LAUNCHER = """
import os, sys
held = int(sys.argv[1])
if held != 3:
    os.dup2(held, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "esteira.web"])
"""


class ActivatedWeb:
    """A web app that can be restarted while its socket stays open."""

    def __init__(self, listening: socket.socket, environment: Mapping[str, str], log: Path) -> None:
        self._socket = listening
        self._environment = dict(environment)
        self._log = log
        self.port = int(listening.getsockname()[1])
        self.server = self._start()

    def restart(self) -> None:
        """Ends the process as `systemctl restart` does, and starts another one on the same socket."""
        assert self.server.terminate() in (0, -signal.SIGTERM), self.server.log_text()
        self.server = self._start()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait(10)

    def _start(self) -> WebServer:
        held = self._socket.fileno()
        command = [sys.executable, "-c", LAUNCHER, str(held)]
        with self._log.open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdout=out,
                stderr=out,
                pass_fds=[held],
                start_new_session=True,
            )
        return WebServer(process, self.port, self._log)


@contextlib.contextmanager
def activated_web(system: RunningSystem, **settings: str) -> Iterator[ActivatedWeb]:
    """The app with the settings of a system and these. It may still be starting: its socket takes connections."""
    named = {name.upper(): value for name, value in {**SECRETS, **WITHOUT_DASHBOARD, **settings}.items()}
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with listening:
        environment = system.env | {"LOG_FORMAT": "json", **named}
        web = ActivatedWeb(listening, environment, system.folder / "activated-web.log")
        try:
            yield web
        finally:
            web.kill()
