"""The workers of scripts/chaos with another clock, and with another name service, feel what they are to feel."""

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
from scripts.faults.environment_faults import set_beside

def beside():
    seen = [time.time(), webhooks.datetime.now(None).timestamp(), Catalogue.__init__.__kwdefaults__["clock"]()]
    return [moment - began for moment in seen]

found = [beside()]
for seconds in (3600.0, -3600.0, 0.0):
    set_beside(Path("clock"), seconds)
    found.append(beside())
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


def log_lines(program: str, folder: Path) -> Any:
    """What a program prints that runs in this folder, which holds its clock and its names."""
    own = {"VAR_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": str(ROOT)}
    own |= {"CHAOS_CLOCK": str(folder / "clock"), "CHAOS_NAMES": str(folder / "names")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | own,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_clock_that_was_set_is_what_the_product_reads(tmp_path: Path) -> None:
    found = log_lines(CLOCK, tmp_path)
    for seconds, seen in zip((0, 3600, -3600, 0), found, strict=True):
        assert all(abs(value - seconds) < 120 for value in seen)


def test_the_source_has_a_name_unless_the_name_service_is_away(tmp_path: Path) -> None:
    assert log_lines(NAMES, tmp_path) == [["127.0.0.1"], "gaierror", ["127.0.0.1"]]
