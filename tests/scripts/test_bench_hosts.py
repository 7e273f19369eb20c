"""scripts/bench hosts: workers in network namespaces, and nothing of them afterwards."""

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
from scripts.benchmarks.machine import Trouble
from tests.conftest import CI
from tests.scripts.test_chaos_interrupted import belonging_to
from tests.support.system import ROOT
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "scripts.benchmarks", "hosts"]


def possible() -> bool:
    return any(networks.permitted(way) for way in networks.WAYS)


def needs_namespaces() -> None:
    """A container may be refused them in CI as well: the measure says so by itself."""
    if not possible():
        pytest.skip("no network namespaces here")


@pytest.mark.slow
def test_two_hosts_share_the_work_and_what_a_dead_one_held_is_done_by_the_other(tmp_path: Path) -> None:
    needs_namespaces()
    kept = tmp_path / "kept.json"
    command = [*COMMAND, "--hosts", "2", "--files", "90", "--processes", "1", "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    if "install postgresql" in done.stderr and not CI:
        pytest.skip("PostgreSQL is missing")
    assert done.returncode == 0, done.stderr
    found = json.loads(kept.read_text())["measures"]["hosts"]
    assert [row[""] for row in found["rows"]] == ["2 hosts, PostgreSQL, S3"]
    shared, died, sizes = found["notes"]
    assert "90 files done, each once; host1 " in shared
    assert " was killed " in died
    assert "All 90 were done, each once" in died
    assert " MB at rest and " in sizes


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_of_the_hosts() -> None:
    needs_namespaces()
    with TemporaryDirectory(prefix="hosts-") as name:
        folder, said = Path(name), Path(name, "said")
        command = [*COMMAND, "--stores", "sqlite", "--files", "30"]
        with said.open("wb") as out:
            env = {**os.environ, "TMPDIR": name}
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)

        def workers_run() -> bool:
            assert process.poll() is None, said.read_text()
            return sum("actors.stages" in part for part in belonging_to(folder)) >= 3

        wait_until(workers_run, within_s=150, every_s=0.2)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal sends it
        assert process.wait(60) != 0
        wait_until(lambda: not belonging_to(folder), within_s=30, every_s=0.5)


def test_a_machine_that_lets_nobody_make_a_network_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(networks.INSIDE, raising=False)
    monkeypatch.setattr(networks, "permitted", lambda _: False)
    with pytest.raises(Trouble, match=r"run this as root, or allow it"):
        networks.enter([])
    monkeypatch.setattr(networks, "TOOLS", ("no-such-tool",))
    with pytest.raises(Trouble, match=r"need no-such-tool: install iproute2"):
        networks.enter([])
