"""The systemd units: systemd's own checks, their exposure, and what the sandbox needs of their confinement.

No test boots systemd. The units ran in an nspawn container once, with a file of every type: docs/deploy.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from tests.conftest import missing
from tests.support.system import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".service", ".socket", ".target"})
SERVICES = [path for path in UNITS if path.suffix == ".service"]
SINGLE = FOLDER / "single" / "esteira.service"
OK = 25  # tenths: systemd-analyze calls the exposure below this "OK"


def program(name: str) -> str:
    return shutil.which(name) or missing(name) or ""


def lines_of(unit: str, key: str) -> list[str]:
    """The values of a key of a unit, in order."""
    return re.findall(rf"^{key}=(.*)$", (FOLDER / unit).read_text(), flags=re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the units whose programs exist."""
    for unit in (*UNITS, SINGLE):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/esteira/bin", str(Path(sys.executable).parent))
        )
    return tmp_path


def test_units_pass_the_checks_of_systemd(installed: Path) -> None:
    paths = [str(installed / unit.name) for unit in (*UNITS, SINGLE)]
    found = subprocess.run([program("systemd-analyze"), "verify", *paths], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [*SERVICES, SINGLE], ids=lambda path: path.stem)
def test_services_are_hardly_exposed(unit: Path) -> None:
    command = [program("systemd-analyze"), "security", "--offline=true", f"--threshold={OK}", str(unit)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    [level] = re.findall(r"exposure level for \S+: ([\d.]+) (?:OK|SAFE)", found.stdout)
    assert float(level) < OK / 10


def test_users_of_the_units_are_created(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = [program("systemd-sysusers"), f"--root={tmp_path}", str(FOLDER / "esteira.sysusers.conf")]
    subprocess.run(command, check=True, capture_output=True)
    created = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    users = {user for unit in SERVICES for user in lines_of(unit.name, "User")}
    assert users <= created
    assert {group for unit in SERVICES for group in lines_of(unit.name, "Group")} == {"esteira"}


def test_web_app_and_workers_are_different_users() -> None:
    assert lines_of("esteira-web.service", "User") != lines_of("esteira-worker.service", "User")


@pytest.mark.parametrize("unit", ["esteira-worker.service", "single/esteira.service"])
def test_workers_may_confine_their_decoders(unit: str) -> None:
    *_, last = lines_of(unit, "SystemCallFilter")  # the list before removes calls, and this one adds some again
    assert {"capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"} <= set(
        last.split()
    )
    assert lines_of(unit, "RestrictNamespaces") == ["user net ipc uts"]


@pytest.mark.parametrize("unit", ["esteira-web.service", "esteira-worker.service", "esteira-migrate.service"])
def test_services_may_create_directories_for_the_group(unit: str) -> None:
    assert not lines_of(unit, "RestrictSUIDSGID")


def test_worker_is_started_as_in_the_procfile() -> None:
    [procfile] = re.findall(r"^worker: (.*)$", (ROOT / "Procfile").read_text(), flags=re.MULTILINE)
    [unit] = lines_of("esteira-worker.service", "ExecStart")
    options = re.compile(r"--worker-\S+ \d+|--skip-logging|actors\.stages")
    assert options.findall(unit) == options.findall(procfile)


def test_settings_of_the_sample_are_known() -> None:
    text = (FOLDER / "esteira.env").read_text()
    names = re.findall(r"^#?([A-Z][A-Z_]+)=", text, flags=re.MULTILINE)
    assert set(names) <= {field.upper() for field in Settings.model_fields}
    assert "API_TOKEN=\n" in text


def test_queue_is_where_the_settings_say() -> None:
    [address] = re.findall(r"^REDIS_URL=unix://(.*)$", (FOLDER / "esteira.env").read_text(), flags=re.MULTILINE)
    assert f"unixsocket {address}\n" in (FOLDER / "valkey.conf").read_text()


@pytest.mark.parametrize("arguments", [["--help"], ["--no-star"], ["--no-start", "more"]])
def test_installation_refuses_unknown_arguments(arguments: list[str]) -> None:
    found = subprocess.run([ROOT / "scripts" / "install-service", *arguments], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (2, b"")
    assert found.stderr == b"usage: scripts/install-service [--no-start]\n"
