"""The installed wheel: the core of a listener, missing extras, projects with packages of the same names."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.packages import (
    UV_ENVIRONMENT,
    Environment,
    find_python,
    locked,
    new_environment,
    run_uv,
    uv,
)
from tests.support.samples import pillow
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

MAX_CORE_BYTES = 90_000_000
HAND_OVER = """
import sys
from esteira import Attachment, process_media
from actors.hook import process_media as same
from pipeline.models import parse_attachment

fields = {"session": "shop", "message_id": sys.argv[1], "kind": "image", "data": sys.argv[2]}
assert isinstance(parse_attachment(fields), Attachment)
receipt = process_media(parse_attachment(fields))
print(receipt.mode, receipt.status, same(parse_attachment(fields)).mode, receipt.id)
"""
PNG = pillow("PNG")
KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
NO_REDIS = {"REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture(scope="module")
def core_with_frameworks(core: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The core beside Flask and Django."""
    requirements = locked("--only-group", "frameworks", file=tmp_path_factory.mktemp("lock") / "frameworks.txt")
    run_uv("pip", "install", "--python", core.folder, "--no-deps", "--requirements", requirements)
    return core


@pytest.fixture(scope="module")
def migrated(core: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    assert core.run("esteira", "migrate", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    """A folder with a catalogue in its VAR_DIR."""
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def hand_over(core: Environment, folder: Path, message_id: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return core.run("python", "-c", HAND_OVER, message_id, base64.b64encode(PNG).decode(), cwd=folder, **settings)


def test_core_installs_below_90_mb_with_its_bytecode(core: Environment) -> None:
    sizes = [file.stat().st_size for file in core.site_packages.rglob("*") if file.is_file()]
    assert any(core.site_packages.glob("sqlalchemy/__pycache__/*.pyc"))
    assert sum(sizes) < MAX_CORE_BYTES


def test_core_has_no_extra(core: Environment, tmp_path: Path) -> None:
    code = "from pipeline.extras import EXTRAS, is_installed; print([extra for extra in EXTRAS if is_installed(extra)])"
    assert core.run("python", "-c", code, cwd=tmp_path).stdout == "[]\n"


def test_attachment_of_the_core_is_processed_by_a_worker(core: Environment, folder: Path, valkey: ValkeyServer) -> None:
    settings = {"REDIS_URL": valkey.url, "FALLBACK": "spool", "VAR_DIR": str(folder / "var")}
    handed_over = hand_over(core, folder, "1", **settings)
    assert handed_over.stderr == ""
    mode, status, again, media_id = handed_over.stdout.split()
    assert (mode, status, again) == ("queued", "received", "duplicate")
    worker = [sys.executable, "-m", "dramatiq", "actors.stages", "--processes", "1", "--threads", "2"]
    with subprocess.Popen(worker, cwd=folder, env=os.environ | settings, start_new_session=True) as process:
        try:
            wait_until(lambda: status_of(core, folder, media_id, settings)["status"] == "done", within_s=40)
        finally:
            process.send_signal(signal.SIGTERM)
    assert PNG in [file.read_bytes() for file in (folder / "var/media").rglob("*") if file.is_file()]


def status_of(core: Environment, folder: Path, media_id: str, settings: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = json.loads(core.run("esteira", "status", media_id, "--json", cwd=folder, **settings).stdout)
    return found


def test_core_spools_while_redis_is_away(core: Environment, folder: Path) -> None:
    handed_over = hand_over(core, folder, "1", FALLBACK="spool", **NO_REDIS)
    assert handed_over.stdout.split()[:3] == ["spooled", "received", "duplicate"]


def test_core_with_fallback_sync_warns_once_and_spools(core: Environment, folder: Path) -> None:
    handed_over = hand_over(core, folder, "1", FALLBACK="sync", **NO_REDIS)
    assert handed_over.stdout.split()[:3] == ["spooled", "received", "duplicate"]
    assert handed_over.stderr.count("FALLBACK=sync needs the extra `worker`, which is not installed") == 1
    assert "pip install 'esteira[worker]'" in handed_over.stderr


LINE = "esteira: {what} needs the extra `{extra}`, which is not installed: pip install 'esteira[{extra}]'; "


@pytest.mark.parametrize(
    ("command", "settings", "what", "extra"),
    [
        ("esteira start", {}, "`esteira start`", "worker"),
        ("esteira check photo.jpg", {}, "`esteira check`", "worker"),
        ("python -m esteira.web", {}, "the web app", "web"),
        (
            "esteira list",
            {"DATABASE_URL": "postgresql://db/esteira"},
            "DATABASE_URL=postgresql://…",
            "postgres",
        ),
        ("esteira list", {"SENTRY_DSN": "https://key@sentry.internal/1"}, "SENTRY_DSN", "sentry"),
        ("esteira stats", {"STORAGE_URL": "s3://bucket/media"}, "STORAGE_URL=s3://…", "object-store"),
        (
            "esteira list",
            {"ENCRYPTION_KEYS": KEY},
            "ENCRYPTION_KEYS",
            "encryption",
        ),
    ],
)
def test_missing_extra_is_one_line_that_names_it(
    core: Environment, folder: Path, command: str, settings: dict[str, str], what: str, extra: str
) -> None:
    done = core.run(*command.split(), cwd=folder, **settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(LINE.format(what=what, extra=extra))
    assert done.stderr.count("\n") == 1


def test_dramatiq_without_the_worker_extra_says_one_line_per_process(core: Environment, folder: Path) -> None:
    done = core.run("dramatiq", "actors.stages", "--processes", "1", "--skip-logging", cwd=folder)
    assert done.returncode != 0
    assert LINE.format(what="`dramatiq actors.stages`", extra="worker") in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_extra_of_a_setting_reaches_the_listener_as_its_error(core: Environment, folder: Path) -> None:
    handed_over = hand_over(core, folder, "1", STORAGE_URL="s3://bucket/media", FALLBACK="spool", **NO_REDIS)
    last = handed_over.stderr.splitlines()[-1]
    assert last.startswith(
        "pipeline.extras.MissingExtraError: bad_setting: STORAGE_URL=s3://… needs the extra `object-store`"
    )


def test_tracing_without_its_extra_is_one_warning(core: Environment, folder: Path) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "FALLBACK": "spool", **NO_REDIS}
    handed_over = hand_over(core, folder, "1", **settings)
    assert handed_over.stdout.startswith("spooled ")
    assert handed_over.stderr.count("tracing disabled: the extra `otel` is not installed") == 1


def test_settings_and_version_come_from_the_wheel(core: Environment, tmp_path: Path, dist: Path) -> None:
    example = Path(__file__).parents[2] / ".env.example"
    assert core.run("esteira", "settings", cwd=tmp_path).stdout == example.read_text()
    (sdist,) = dist.glob("*.tar.gz")
    assert f"{core.run('esteira', '--version', cwd=tmp_path).stdout.replace(' ', '-').strip()}.tar.gz" == sdist.name


def test_listener_that_uses_the_wheel_is_type_checked(core: Environment, tmp_path: Path) -> None:
    listener = tmp_path / "listener.py"
    listener.write_text(
        "from esteira import Attachment, Receipt, parse_attachment, process_media\n"
        "attachment: Attachment = parse_attachment({'session': 'shop', 'message_id': '1'})\n"
        "receipt: Receipt = process_media(attachment, files=None)\n"
        "mode: int = receipt.mode\n"
    )
    options = (
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(tmp_path),
        "--python-executable",
        core.program("python"),
    )
    command = [sys.executable, "-m", "mypy", *options, listener.name]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert [
        line.partition("error: ")[2].partition(" for ")[0] for line in done.stdout.splitlines() if "error: " in line
    ] == [
        'Unexpected keyword argument "files"',
        "Incompatible types in assignment (expression has type \"Literal['queued', 'inline', 'spooled', "
        "'deferred', 'duplicate', 'ignored']\", variable has type \"int\")  [assignment]",
    ]


def own_packages(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"NAME = 'the project\\'s {name}'\n")


FLASK = """
from flask import Flask
import cli, web
from esteira import Attachment, process_media

app = Flask(__name__)

@app.post("/message")
def message():
    receipt = process_media(Attachment(session="shop", message_id="1", kind="image", url="https://cdn.example.com/1"))
    return {"mode": receipt.mode, "own": [web.NAME, cli.NAME]}

print(app.test_client().post("/message").text)
"""
DJANGO = """
import json
from django.conf import settings
settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
import django
django.setup()
from django.http import JsonResponse
from django.test import Client
from django.urls import path
import cli, web
from esteira import Attachment, process_media

def message(request):
    receipt = process_media(Attachment(session="shop", message_id="1", kind="image", url="https://cdn.example.com/1"))
    return JsonResponse({"mode": receipt.mode, "own": [web.NAME, cli.NAME]})

urlpatterns = [path("message", message)]
print(json.dumps(Client().post("/message").json()))
"""


@pytest.mark.parametrize("program", [FLASK, DJANGO], ids=["flask", "django"])
def test_project_with_its_own_web_and_cli_hands_over(
    core_with_frameworks: Environment, folder: Path, program: str
) -> None:
    own_packages(folder, "web", "cli")
    (folder / "app.py").write_text(program)
    done = core_with_frameworks.run("python", "app.py", cwd=folder, FALLBACK="spool", **NO_REDIS)
    assert json.loads(done.stdout) == {"mode": "spooled", "own": ["the project's web", "the project's cli"]}


@pytest.mark.parametrize("name", ["pipeline", "actors"])
@pytest.mark.parametrize("use", ["from esteira import process_media, Attachment", "import esteira.cli.app"])
def test_collision_is_named_where_the_package_is_used(core: Environment, tmp_path: Path, name: str, use: str) -> None:
    own_packages(tmp_path, name)
    done = core.run("python", "-c", use, cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert f"{tmp_path / name} shadows the package `{name}` of Esteira in {core.site_packages}: rename it" in last


@pytest.mark.parametrize(
    "command", ["esteira list", "python -m esteira.web", "dramatiq actors.stages -p 1 --skip-logging"]
)
def test_collision_ends_a_program_with_one_line(core: Environment, tmp_path: Path, command: str) -> None:
    own_packages(tmp_path, "pipeline")
    done = core.run(*command.split(), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert f"esteira: {tmp_path / 'pipeline'} shadows the package `pipeline` of Esteira" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_is_not_disturbed_by_the_folder_it_runs_in(core: Environment, folder: Path) -> None:
    own_packages(folder, "pipeline", "actors")
    assert core.run("esteira", "list", cwd=folder).returncode == 0


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_core_hands_over_with_newer_pythons(
    wheel: Path, core: Environment, folder: Path, tmp_path_factory: pytest.TempPathFactory, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    place = tmp_path_factory.mktemp("newer")
    newer = new_environment(place / "venv", wheel, locked("--no-dev", file=place / "core.txt"), python=python)
    handed_over = hand_over(newer, folder, "1", FALLBACK="spool", **NO_REDIS)
    assert handed_over.stdout.split()[:3] == ["spooled", "received", "duplicate"]


@pytest.fixture
def tool(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a shell in which `uv tool install` has installed the plain wheel."""
    packages = locked("--no-dev", "--all-extras", "--no-hashes", file=tmp_path / "all.txt")
    kept = {name: os.environ[name] for name in ("HOME", "UV_CACHE_DIR") if name in os.environ}
    environment = {
        **(UV_ENVIRONMENT | kept),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_CONSTRAINT": str(packages),
        "PATH": f"{tmp_path / 'bin'}:{Path(uv()).parent}:/usr/bin:/bin",
        "PORT": str(free_port()),
    }
    command = [uv(), "tool", "install", "--quiet", "--python", sys.executable, wheel]
    subprocess.run(command, check=True, env=environment, timeout=120)
    return environment


@pytest.mark.slow
def test_start_of_a_plain_uv_tool_installs_the_extras_and_runs(tool: dict[str, str], tmp_path: Path) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{tool['PORT']}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    with (
        (tmp_path / "start.log").open("wb") as log,
        subprocess.Popen(["esteira", "start"], cwd=tmp_path, env=tool, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(answers, within_s=120)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert (tmp_path / "start.log").read_text().startswith("esteira: installing all extras, once: uv tool install '")
