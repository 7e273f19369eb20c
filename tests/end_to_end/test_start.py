"""`esteira start`: it runs everything, stops in order, and runs once per folder."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import BIN, Installation, RunningEsteira, new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.terminals import Terminal
from tests.support.valkey import free_port
from tests.support.waiting import wait_until

JPEG = pictures.jpeg()


@pytest.fixture
def installation() -> Iterator[Installation]:
    with new_installation(PORT=str(free_port()), API_TOKEN="token-of-this-test") as installation:
        yield installation


def call(
    installation: Installation, path: str, *, body: object = None, token: str | None = "token-of-this-test"
) -> tuple[int, object]:
    """Status and JSON of one request to the web app."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{installation.env['PORT']}{path}", data)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def answers(installation: Installation) -> bool:
    try:
        return call(installation, "/readyz")[0] == 200
    except OSError:
        return False


def exposed(folder: Path) -> dict[str, str]:
    """The modes of all files, directories and sockets below that others may use, by name."""
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}
    return {name: oct(mode) for name, mode in modes.items() if mode & 0o077}


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Sets a umask that removes no permission bits, which `esteira start` inherits."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.slow
@pytest.mark.usefixtures("open_umask")
def test_every_part_creates_private_files_under_any_umask(installation: Installation) -> None:
    installation.folder.chmod(0o755)
    with MediaServer({"photo.jpg": JPEG}) as media, start_esteira(installation) as running:
        running.log.chmod(0o600)  # the test itself has created it
        wait_until(lambda: answers(installation), within_s=60)
        body = {"session": "s", "message_id": "m1", "url": media.url("photo.jpg"), "kind": "image"}
        call(installation, "/hooks/media", body=body)
        wait_until(lambda: call(installation, "/stats")[1]["totals"]["done"] == 1, within_s=60)
        names = {path.name for path in installation.folder.rglob("*")}
        assert {"esteira.db", "esteira.db-wal", "valkey.log", "valkey.sock", "start.lock", "appendonlydir"} <= names
        assert exposed(installation.folder) == {}


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that still run. A zombie, an orphan that was not reaped, does not count."""
    return [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_start_processes_a_hook_and_stops_in_order(installation: Installation) -> None:
    with MediaServer({"photo.jpg": JPEG}) as media, start_esteira(installation) as running:
        wait_until(lambda: answers(installation), within_s=60)
        body = {"session": "s", "message_id": "m1", "url": media.url("photo.jpg"), "kind": "image"}
        status, answer = call(installation, "/hooks/media", body=body)
        assert status == 202
        [accepted] = answer["accepted"]
        wait_until(lambda: installation.run("status", accepted["id"], "--json").json["finished_at"], every_s=0.5)
        assert installation.run("status", accepted["id"], "--json").json["status"] == "done"
        assert call(installation, "/hooks/media", body=body, token=None)[0] == 401
        assert call(installation, "/stats")[1]["totals"]["done"] == 1
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) > 4
        assert running.stop(signal.SIGINT) == 0
        assert living(family) == []
    assert [path.read_bytes() for path in installation.stored_files()] == [JPEG]


@pytest.mark.slow
def test_start_without_api_token_keeps_one_that_opens_everything(installation: Installation) -> None:
    installation = installation.with_settings(API_TOKEN="")
    kept = installation.folder / "api-token"
    with start_esteira(installation, "--workers", "1") as running:
        wait_until(lambda: answers(installation), within_s=60)
        token = kept.read_text().strip()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert call(installation, "/stats", token=token)[0] == 200
        assert call(installation, "/stats", token=None)[0] == 401
        with urllib.request.urlopen(f"http://127.0.0.1:{installation.env['PORT']}/", timeout=30) as page:
            assert (page.status, page.url.endswith("/login")) == (200, True)
        assert installation.run("token", "shop", "--gateway", "waha").code == 0
        assert str(kept) in running.output()
        assert token not in running.output()
        assert running.stop() == 0
    with start_esteira(installation, "--no-web", "--workers", "1") as running:
        assert kept.read_text().strip() == token
        assert running.stop() == 0


@pytest.mark.parametrize("arguments", [("--no-web",), ()], ids=["workers alone", "with the same port"])
def test_second_start_in_the_same_folder_is_refused(installation: Installation, arguments: tuple[str, ...]) -> None:
    with start_esteira(installation, *arguments, "--workers", "1") as running:
        second = installation.run("start", *arguments)
        assert second.code == 1
        assert f"in use by another `esteira start` (process {running.process.pid})" in second.err
        assert "REDIS_URL" not in second.err
        assert running.process.poll() is None


def parts_of(running: RunningEsteira, word: str) -> list[psutil.Process]:
    """The processes of `esteira start` with this word in their command line, the oldest first."""
    family = psutil.Process(running.process.pid).children(recursive=True)
    return [process for process in family if word in " ".join(process.cmdline())]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "master", "web"])
def test_killed_process_comes_back_and_nothing_is_lost(installation: Installation, victim: str) -> None:
    with MediaServer({"photo.jpg": JPEG}, delay_s=3) as media, start_esteira(installation, "--workers", "1") as running:
        wait_until(lambda: answers(installation), within_s=60)
        rows = [{"session": "s", "message_id": str(n), "url": media.url("photo.jpg")} for n in range(6)]
        assert call(installation, "/hooks/media", body=rows)[0] == 202
        wait_until(lambda: media.requests, within_s=60)
        if victim == "worker":
            [worker] = call(installation, "/workers")[1]["workers"]
            os.kill(worker["pid"], signal.SIGKILL)
        else:
            _guard, process, *_ = parts_of(running, "dramatiq" if victim == "master" else "esteira.web")
            process.kill()
        if victim != "web":
            assert answers(installation)
        name = "web" if victim == "web" else "worker"
        wait_until(lambda: f"{name} ended by itself" in running.output(), within_s=60)
        wait_until(lambda: answers(installation), within_s=60)
        wait_until(lambda: call(installation, "/stats")[1]["totals"]["done"] == 6, within_s=90)
        assert running.process.poll() is None
        assert running.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_killed_valkey_comes_back_and_hooks_are_answered_meanwhile(installation: Installation) -> None:
    installation = installation.with_settings(VALKEY_SERVER="bundled")
    with MediaServer({"photo.jpg": JPEG}) as media, start_esteira(installation, "--workers", "1") as running:
        wait_until(lambda: answers(installation), within_s=60)
        parts_of(running, "valkey-server")[0].kill()
        rows = [{"session": "s", "message_id": str(n), "url": media.url("photo.jpg")} for n in range(6)]
        assert call(installation, "/hooks/media", body=rows)[0] == 202
        wait_until(lambda: "valkey ended by itself (killed by SIGKILL)" in running.output(), within_s=60)
        wait_until(lambda: answers(installation), within_s=60)
        wait_until(lambda: call(installation, "/stats")[1]["totals"]["done"] == 6, within_s=90)


@pytest.mark.slow
def test_lines_are_json_with_their_part_without_a_terminal(installation: Installation) -> None:
    with MediaServer({"photo.jpg": JPEG}) as media, start_esteira(installation, "--workers", "1") as running:
        wait_until(lambda: answers(installation), within_s=60)
        body = {"session": "s", "message_id": "m1", "url": media.url("photo.jpg"), "kind": "image"}
        assert call(installation, "/hooks/media", body=body)[0] == 202
        wait_until(lambda: "attachment finished" in running.output(), within_s=60)
        parts_of(running, "dramatiq")[0].kill()
        wait_until(lambda: "ended by itself" in running.output(), within_s=60)
        running.stop()
        lines = [json.loads(line) for line in running.output().splitlines()]
    assert all({"part", "event", "level", "timestamp"} <= line.keys() for line in lines)
    assert {"start", "worker", "web"} == {line["part"] for line in lines}
    [finished] = [line for line in lines if line["event"] == "attachment finished"]
    assert (finished["part"], finished["session"]) == ("worker", "s")


@pytest.mark.slow
def test_lines_on_a_terminal_have_one_time(installation: Installation) -> None:
    command = [str(BIN / "esteira"), "start", "--no-web", "--workers", "1"]
    terminal = Terminal(width=120)
    with MediaServer({"photo.jpg": JPEG}) as media, Path(terminal.path).open("wb") as out:
        process = subprocess.Popen(
            command, cwd=installation.folder, env=installation.env, stdout=out, stderr=out, start_new_session=True
        )
        try:
            wait_until(lambda: "Press Ctrl-C" in terminal.text, within_s=60)
            submitted = installation.run("submit", media.url("photo.jpg"))
            assert submitted.code == 0, submitted.err
            wait_until(lambda: "attachment finished" in terminal.text, within_s=60)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    [line] = [line for line in terminal.close().splitlines() if "attachment finished" in line]
    assert re.match(r"\x1b\[0;\d+m\d\d:\d\d:\d\d worker \| \x1b\[0m", line)
    assert len(re.findall(r"\d\d:\d\d:\d\d", line)) == 1


def test_killed_start_leaves_no_processes_and_can_be_repeated(installation: Installation) -> None:
    with start_esteira(installation, "--no-web", "--workers", "1") as running:
        wait_until(lambda: "worker started" in running.output())
        family = psutil.Process(running.process.pid).children(recursive=True)
        running.process.kill()
        wait_until(lambda: not living(family), within_s=40)
    with start_esteira(installation, "--no-web", "--workers", "1") as again:
        assert again.stop() == 0


def test_folder_stays_locked_until_valkey_is_gone(installation: Installation) -> None:
    installation = installation.with_settings(VALKEY_SERVER="bundled")
    with start_esteira(installation, "--no-web", "--workers", "1") as running:
        [valkey] = parts_of(running, "valkey-server")
        valkey.suspend()
        running.process.kill()
        running.process.wait()
        refused = installation.run("start", "--no-web")
        valkey.resume()
        assert "in use by another" in refused.err
    with start_esteira(installation, "--no-web", "--workers", "1") as again:
        assert again.stop() == 0


def test_port_in_use_is_reported_before_anything_starts(installation: Installation) -> None:
    with MediaServer() as other:
        port = other.url("x").split(":")[2].split("/")[0]
        finished = installation.with_settings(PORT=port).run("start")
    assert finished.code == 2
    assert f"PORT: cannot listen on 127.0.0.1:{port}" in finished.err
    assert not (installation.folder / "valkey").exists()


def test_address_of_another_machine_is_reported_by_setting(installation: Installation) -> None:
    finished = installation.with_settings(WEB_HOST="192.0.2.1", PORT="8000").run("start")
    assert finished.code == 2
    assert "WEB_HOST: cannot listen on 192.0.2.1:8000" in finished.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_TYPES", "jpg,zip"),
        ("STORAGE_URL", "ftp://somewhere"),
        ("DATABASE_URL", "mysql://somewhere"),
        ("REDIS_URL", "http://somewhere"),
        ("REDIS_URL", "redis://somewhere:port"),
        ("VAR_DIR", "/proc/nowhere"),
        ("WEBHOOK_URL", "http://10.0.0.1/"),
    ],
)
def test_invalid_setting_is_reported_by_name(installation: Installation, name: str, value: str) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    invalid = installation.with_settings(WEBHOOK_SECRET=secret, FETCH_ALLOW_PRIVATE="", **{name: value})
    finished = invalid.run("start", "--no-web")
    assert finished.code == 2
    assert f"esteira: {name}" in finished.err
    assert "Traceback" not in finished.err
    assert secret not in finished.err


def test_unreachable_redis_is_reported(installation: Installation) -> None:
    finished = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0").run("start", "--no-web")
    assert finished.code == 1
    assert "Redis at 127.0.0.1:1 does not answer" in finished.err
    assert "or run `esteira start`" not in finished.err


@pytest.mark.slow
def test_attachments_accepted_while_stopped_are_done_after_the_start(installation: Installation) -> None:
    with MediaServer({"photo.jpg": JPEG}) as media:
        with start_esteira(installation, "--no-web", "--workers", "1"):
            pass
        spooling = installation.with_settings(FALLBACK="spool")
        [line] = spooling.run("submit", media.url("photo.jpg"), "--json").lines
        assert line["mode"] == "spooled"
        with start_esteira(installation.with_settings(SWEEP_AFTER_S="1"), "--no-web", "--workers", "1"):
            wait_until(lambda: installation.run("status", line["id"], "--json").json["status"] == "done", every_s=0.5)
