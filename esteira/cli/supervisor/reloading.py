"""A reload: new processes of web app and workers, with the code and the settings of now, while hooks are answered."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping

from esteira.cli.preparation import Facts
from esteira.cli.supervisor.commands import preparation_command
from esteira.cli.supervisor.parent_guard import PARENT_PID
from esteira.cli.supervisor.part import GRACE_S, Part, Running
from esteira.cli.supervisor.requests import Request
from esteira.cli.supervisor.supervisor import STOPPED, Supervisor, described
from pipeline.service_manager.notify import READY, ServiceManager, reloading

READY_S = 60.0  # for a part to say that it is ready, on a busy machine
FIXED = ("VAR_DIR", "REDIS_URL")  # a change would leave the parts without their Valkey
LATER = ("PORT", "WEB_HOST", "VALKEY_SERVER")  # a change is used by the next `esteira start`


class ReloadFailedError(Exception):
    """The reload ends here; its text says why. What was not replaced goes on."""


class Reloading:
    """Reloads the parts of a supervisor. `facts`: what the supervisor uses of the settings, replaced by each reload."""

    def __init__(
        self, supervisor: Supervisor, environment: Mapping[str, str], facts: Facts, manager: ServiceManager
    ) -> None:
        self.facts = facts
        self._supervisor = supervisor
        self._environment = environment
        self._manager = manager

    def reload(self, request: Request, *, web: Part | None, worker: Part) -> None:
        """Fulfils a request: prepares, replaces the web app, and then the workers."""

        def tell(text: str) -> None:
            self._supervisor.say(f"reload: {text}", "info")
            request.tell(text)

        self._manager.tell(*reloading())
        failure = None
        try:
            self._take_facts(self._prepare(), tell)
            if web is not None:
                self._replace_web(web, tell)
            self._replace_workers(worker, tell)
        except ReloadFailedError as error:
            failure = str(error)
            self._supervisor.say(f"reload failed: {failure}", "error")
        self._manager.tell(READY)
        request.finish(failure)

    def _prepare(self) -> Facts:
        """Updates the tables and checks the settings, in a process of its own: this one has the code of its start."""
        process = self._start_preparation()
        outputs: list[tuple[bytes, bytes]] = []
        reader = threading.Thread(target=lambda: outputs.append(process.communicate()), name="preparation", daemon=True)
        reader.start()
        if not self._supervisor.wait(lambda: not reader.is_alive()):
            process.terminate()
            reader.join(GRACE_S)
            raise ReloadFailedError(STOPPED)
        [(out, err)] = outputs
        if process.returncode:
            reason = _reason(err.decode("utf-8", "replace").splitlines())
            raise ReloadFailedError(reason or f"the preparation ended ({described(process.returncode)})")
        return _facts(out)

    def _start_preparation(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603
                preparation_command(),
                env={**self._environment, PARENT_PID: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:  # no process or descriptor is left, or an upgrade has removed the interpreter
            raise ReloadFailedError(f"the preparation cannot be started ({error})") from None

    def _take_facts(self, facts: Facts, tell: Callable[[str], None]) -> None:
        changed = [name for name, value in self.facts.items() if facts.get(name, value) != value]
        if fixed := [name for name in FIXED if name in changed]:
            raise ReloadFailedError(
                f"{', '.join(fixed)} cannot change in a reload: stop `esteira start` and start it again"
            )
        tell("the settings are valid and the database tables are up to date")
        if later := [name for name in LATER if name in changed]:
            tell(f"{', '.join(later)}: changed; used from the next `esteira start` on")
        self.facts = {**self.facts, **facts, **{name: self.facts[name] for name in LATER}}

    def _replace_web(self, web: Part, tell: Callable[[str], None]) -> None:
        """Starts the new web app on the socket of the old one, which ends when the new one is ready."""
        try:
            new = self._supervisor.launch_other(web)
        except (OSError, subprocess.SubprocessError) as error:
            raise ReloadFailedError(f"the new web app cannot be started ({error}); the old one goes on") from None
        if failure := self._failure(new):
            self._supervisor.end(new)
            raise ReloadFailedError(f"the new web app {failure}; the old one goes on")
        old = web.running
        self._supervisor.use(web, new)
        tell("the new web app answers")
        if old is not None:
            self._supervisor.end(old)

    def _replace_workers(self, worker: Part, tell: Callable[[str], None]) -> None:
        """Lets the workers finish what they hold, and then starts new ones: two sets might not fit into the memory."""
        if old := worker.retire():
            self._supervisor.end(old)
        if self._supervisor.is_stopping:
            raise ReloadFailedError(STOPPED)
        self._supervisor.start_again(worker)
        new = worker.running
        if new is None or (failure := self._failure(new)):
            raise ReloadFailedError(f"the new workers {failure if new else 'cannot be started'}; they are tried again")
        tell("the new workers are ready")

    def _failure(self, running: Running) -> str | None:
        """Waits until a process is ready; says why it is not."""
        self._supervisor.wait(lambda: running.is_ready() or running.has_ended, READY_S)
        if running.is_ready():
            return None
        if self._supervisor.is_stopping:
            raise ReloadFailedError(STOPPED)
        if not running.has_ended:
            return f"is not ready after {READY_S:g} s"
        reason = _reason([*running.last_lines])
        return f"ended: {reason}" if reason else f"ended ({described(running.process.returncode)})"


def _facts(out: bytes) -> Facts:
    """The facts in the last line of the preparation: libraries may print lines before it."""
    try:
        facts = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        facts = None
    if not isinstance(facts, dict):
        raise ReloadFailedError("the preparation has printed no facts: is the installation complete?")
    return facts


def _reason(lines: list[str]) -> str:
    """The line that says why a process has ended: that of a command or of the web app, else the last one."""
    ours = [line.removeprefix("esteira: ") for line in lines if line.startswith("esteira: ")]
    return (ours or lines[-1:] or [""])[-1][:500]
