"""Restarts under hooks: `esteira reload`, and SIGKILL at each of its steps. No hook is refused or lost.

The tests share one `esteira start` and one stream of hooks, in this order; the last ones end both.
"""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import psutil
import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import BIN, Installation, RunningEsteira, new_installation, start_esteira
from tests.support.hook_stream import HookStream
from tests.support.media_server import MediaServer
from tests.support.valkey import free_port
from tests.support.waiting import wait_until

TOKEN = "token-of-this-test"
RATE = 10.0  # hooks a second
WITHIN_S = 120  # on a busy machine

pytestmark = pytest.mark.slow


class Restarted(NamedTuple):
    """A running Esteira that receives hooks. Closing `hooks` stops them."""

    installation: Installation
    running: RunningEsteira
    stream: HookStream
    hooks: ExitStack

    def processes(self, *words: str) -> list[psutil.Process]:
        """The processes that run `python -m` with these words, without their guards."""
        found = []
        for process in psutil.Process(self.running.process.pid).children(recursive=True):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            module = line[line.index("-m") :] if "-m" in line else []
            if module[: 1 + len(words)] == ["-m", *words] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def pids(self, *words: str) -> list[int]:
        return [process.pid for process in self.processes(*words)]

    def web(self) -> list[int]:
        return self.pids("esteira.web")

    def masters(self) -> list[int]:
        """The workers' main processes."""
        lines = {process.pid: process for process in self.processes("dramatiq")}
        return [pid for pid, process in lines.items() if process.ppid() not in lines]

    def reload(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "esteira"), "reload"],
            cwd=self.installation.folder,
            env=self.installation.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def has_said(self, text: str, since: int) -> bool:
        return text in self.running.output()[since:]

    def settled(self) -> bool:
        """Whether one web app and one set of workers run."""
        return len(self.web()) == len(self.masters()) == 1

    def status(self, path: str, token: str = TOKEN) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.installation.env['PORT']}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
            return int(answer.status)

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = self.installation.run("stats", "--json").json["totals"]
        return found


@pytest.fixture(scope="module")
def restarted() -> Iterator[Restarted]:
    port = free_port()
    settings = {"PORT": str(port), "API_TOKEN": TOKEN, "WEB_CONCURRENCY": "1", "DASHBOARD": "false"}
    with (
        MediaServer({"photo.jpg": pictures.jpeg()}) as media,
        new_installation(**settings) as installation,
        start_esteira(installation) as running,
        ExitStack() as hooks,
    ):
        stream = HookStream(port, media.url("photo.jpg"), rate=RATE, headers={"Authorization": f"Bearer {TOKEN}"})
        system = Restarted(installation, running, stream, hooks)
        assert system.status("/readyz") == 200  # the socket is there, and the web app is on its way
        hooks.enter_context(stream)
        wait_until(system.settled, WITHIN_S)
        yield system


def finish(reload: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = reload.communicate(timeout=WITHIN_S)
    return reload.returncode, out, err


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def write_settings(system: Restarted, **settings: str) -> None:
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    (system.installation.folder / ".env").write_text(text)


def test_reload_replaces_web_app_and_workers_and_reads_the_settings(restarted: Restarted) -> None:
    before = restarted.web() + restarted.masters()
    write_settings(restarted, METRICS_TOKEN="metrics-of-this-test", VALKEY_SERVER="bundled")
    code, out, err = finish(restarted.reload())
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "the settings are valid and the database tables are up to date",
        "VALKEY_SERVER: changed; used from the next `esteira start` on",
        "the new web app answers",
        "the new workers are ready",
    ]
    assert restarted.settled()
    assert not {*before} & {*restarted.web(), *restarted.masters()}
    assert restarted.status("/metrics", "metrics-of-this-test") == 200
    assert not restarted.stream.outcomes.errors


@pytest.mark.parametrize(
    ("settings", "code", "complaint"),
    [
        ({"WEBHOOK_TIMEOUT_S": "soon"}, 2, "WEBHOOK_TIMEOUT_S"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "does not answer"),
    ],
)
def test_wrong_settings_change_nothing(
    restarted: Restarted, settings: dict[str, str], code: int, complaint: str
) -> None:
    before = restarted.web() + restarted.masters()
    write_settings(restarted, **settings)
    reloaded = finish(restarted.reload())
    write_settings(restarted)
    assert reloaded[0] == code
    assert complaint in reloaded[2]
    assert reloaded[2].count("\n") == 1
    assert restarted.web() + restarted.masters() == before
    assert not restarted.stream.outcomes.errors


def test_killed_preparation_changes_nothing(restarted: Restarted) -> None:
    before = restarted.web() + restarted.masters()
    reload = restarted.reload()
    kill(*wait_until(lambda: restarted.pids("esteira.cli.preparation"), WITHIN_S))
    code, _, err = finish(reload)
    assert (code, err) == (1, "esteira: the preparation ended (killed by SIGKILL)\n")
    assert restarted.web() + restarted.masters() == before


def test_new_web_app_that_is_killed_leaves_the_old_one(restarted: Restarted) -> None:
    [old] = restarted.web()
    reload = restarted.reload()
    wait_until(lambda: len(restarted.web()) == 2, WITHIN_S)
    kill(*(pid for pid in restarted.web() if pid != old))
    code, _, err = finish(reload)
    assert (code, err) == (1, "esteira: the new web app ended (killed by SIGKILL); the old one goes on\n")
    assert restarted.web() == [old]
    assert not restarted.stream.outcomes.errors


def test_reload_goes_on_without_old_web_app_old_workers_and_its_command(restarted: Restarted) -> None:
    before = restarted.web() + restarted.masters()
    since = len(restarted.running.output())
    reload = restarted.reload()
    wait_until(lambda: len(restarted.web()) == 2, WITHIN_S)
    reload.kill()
    finish(reload)
    kill(*before)
    wait_until(lambda: restarted.has_said("reload: the new workers are ready", since), WITHIN_S)
    wait_until(restarted.settled, WITHIN_S)
    assert not {*before} & {*restarted.web(), *restarted.masters()}
    assert not restarted.stream.outcomes.errors["refused"]


def test_hooks_wait_while_a_killed_web_app_comes_back(restarted: Restarted) -> None:
    [old] = restarted.web()
    kill(old)
    answered = restarted.stream.outcomes.statuses.total()
    wait_until(lambda: restarted.web() not in ([], [old]), WITHIN_S)
    wait_until(lambda: restarted.stream.outcomes.statuses.total() > answered + RATE, WITHIN_S)
    assert not restarted.stream.outcomes.errors["refused"]


def test_hooks_are_accepted_while_a_killed_valkey_comes_back(restarted: Restarted) -> None:
    since, web = len(restarted.running.output()), restarted.web()

    def servers() -> list[int]:
        children = psutil.Process(restarted.running.process.pid).children()
        return [child.pid for child in children if "-server" in child.name()]

    for _ in range(3):
        [server] = wait_until(servers, WITHIN_S)
        kill(server)
        wait_until(lambda server=server: server not in servers(), WITHIN_S)
    wait_until(lambda: restarted.has_said("it is started again in 2 s", since), WITHIN_S)
    answered = restarted.stream.outcomes.statuses.total()
    wait_until(lambda: restarted.stream.outcomes.statuses.total() > answered + 5, WITHIN_S)
    assert not servers()
    assert restarted.web() == web
    assert {*restarted.stream.outcomes.statuses} == {202}


def test_hangup_reloads_and_nothing_is_lost_when_start_is_killed_meanwhile(restarted: Restarted) -> None:
    [old] = restarted.web()
    family = psutil.Process(restarted.running.process.pid).children(recursive=True)
    restarted.running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(restarted.web()) == 2, WITHIN_S)
    family += psutil.Process(restarted.running.process.pid).children(recursive=True)
    kill(restarted.running.process.pid)
    psutil.wait_procs([process for process in family if process.pid != old], timeout=WITHIN_S)
    assert not [process for process in family if process.is_running()]
    assert restarted.installation.run("reload").code == 1  # there is none
    with start_esteira(restarted.installation):
        restarted.hooks.close()
        outcomes = restarted.stream.outcomes
        assert {*outcomes.statuses} == {202}
        assert len(outcomes.ids) == outcomes.sent
        wait_until(lambda: restarted.totals()["done"] == outcomes.sent, WITHIN_S, every_s=0.5)
        assert restarted.totals()["received"] == outcomes.sent
