"""Tests for the measure `hosts`: workers in network namespaces, and their removal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from scripts.benchmarks import networks
from scripts.benchmarks.machine import BenchmarkError
from tests.conftest import CI
from tests.scripts.test_chaos_interrupted import commands_with_tmpdir
from tests.support.system import ROOT
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "scripts.benchmarks", "hosts"]


def can_create_namespaces() -> bool:
    return any(networks.is_permitted(command) for command in networks.UNSHARE_COMMANDS)


def needs_namespaces() -> None:
    """Skips without network namespaces, also in CI, because containers often do not permit them."""
    if not can_create_namespaces():
        pytest.skip("network namespaces are not permitted here")


@pytest.mark.slow
def test_hosts_share_the_work_and_take_over_from_a_killed_host(tmp_path: Path) -> None:
    needs_namespaces()
    json_file = tmp_path / "kept.json"
    command = [*COMMAND, "--hosts", "2", "--files", "90", "--processes", "1", "--json", str(json_file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    if "install postgresql" in done.stderr and not CI:
        pytest.skip("PostgreSQL is missing")
    assert done.returncode == 0, done.stderr
    result = json.loads(json_file.read_text())["measures"]["hosts"]
    assert [row[""] for row in result["rows"]] == ["2 hosts, PostgreSQL, S3"]
    shared_servers, died, sizes = result["notes"]
    assert "90 files done, each once; host1 " in shared_servers
    assert " was killed " in died
    assert "All 90 were done, each once" in died
    assert " MB at rest and " in sizes


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_of_the_hosts() -> None:
    needs_namespaces()
    with TemporaryDirectory(prefix="hosts-") as name:
        folder, output = Path(name), Path(name, "said")
        command = [*COMMAND, "--stores", "sqlite", "--files", "30"]
        with output.open("wb") as out:
            env = {**os.environ, "TMPDIR": name}
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)

        def workers_run() -> bool:
            assert process.poll() is None, output.read_text()
            return sum("actors.stages" in part for part in commands_with_tmpdir(folder)) >= 3

        wait_until(workers_run, within_s=150, every_s=0.2)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal sends it
        assert process.wait(60) != 0
        wait_until(lambda: not commands_with_tmpdir(folder), within_s=30, every_s=0.5)


def test_enter_explains_what_to_do_without_network_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(networks.ENTERED_VARIABLE, raising=False)
    monkeypatch.setattr(networks, "is_permitted", lambda _: False)
    with pytest.raises(BenchmarkError, match=r"run this as root, or allow them"):
        networks.enter([])
    monkeypatch.setattr(networks, "TOOLS", ("no-such-tool",))
    with pytest.raises(BenchmarkError, match=r"need no-such-tool: install iproute2"):
        networks.enter([])
