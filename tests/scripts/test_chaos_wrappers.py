"""The worker entry points of scripts/chaos shift the clock and replace the name service of the product."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.faults.environment import ROOT

CLOCK = """
import json, time
began = time.time()
from pathlib import Path
import scripts.faults.clock_skew
from pipeline.catalogue import Catalogue
from pipeline.notifiers import webhooks
from scripts.faults.environment_faults import set_offset

def offsets():
    seen = [time.time(), webhooks.datetime.now(None).timestamp(), Catalogue.__init__.__kwdefaults__["clock"]()]
    return [moment - began for moment in seen]

found = [offsets()]
for seconds in (3600.0, -3600.0, 0.0):
    set_offset(Path("clock"), seconds)
    found.append(offsets())
print(json.dumps(found))
"""
NAMES = """
import json
from pathlib import Path
import scripts.faults.dns_faults
from pipeline.http_client.ssrf_guard import system_resolver
found = [system_resolver("host-1.chaos.test", 80)]
Path("names").write_text("failing")
try:
    found.append(system_resolver("host-1.chaos.test", 80))
except OSError as error:
    found.append(type(error).__name__)
found.append(system_resolver("127.0.0.1", 80))
print(json.dumps(found))
"""


def run_program(program: str, folder: Path) -> Any:
    """Runs a program in this folder, with its clock and DNS files, and returns the JSON that it prints."""
    variables = {"VAR_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": str(ROOT)}
    variables |= {"CHAOS_CLOCK": str(folder / "clock"), "CHAOS_NAMES": str(folder / "names")}
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_product_reads_the_shifted_clock(tmp_path: Path) -> None:
    found = run_program(CLOCK, tmp_path)
    for seconds, seen in zip((0, 3600, -3600, 0), found, strict=True):
        assert all(abs(value - seconds) < 120 for value in seen)


def test_product_resolves_host_names_unless_dns_fails(tmp_path: Path) -> None:
    assert run_program(NAMES, tmp_path) == [["127.0.0.1"], "gaierror", ["127.0.0.1"]]
