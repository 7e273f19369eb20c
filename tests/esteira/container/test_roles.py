"""The programs of a container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from esteira.container.roles import command
from pipeline.config import settings
from pipeline.errors import SettingsError

ESTEIRA = str(Path(sys.executable).parent / "esteira")
PROCFILE = Path(__file__).parents[3] / "Procfile"


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    monkeypatch.setenv("WORKER_THREADS", "5")
    settings.current_settings.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [ESTEIRA, "start"]),
        (["start", "--no-web"], [ESTEIRA, "start", "--no-web"]),
        (["web"], [sys.executable, "-m", "esteira.web"]),
        (["web", "--host", "::"], [sys.executable, "-m", "esteira.web", "--host", "::"]),
        (["migrate"], [ESTEIRA, "migrate"]),
        (["list", "--status", "failed"], [ESTEIRA, "list", "--status", "failed"]),
    ],
)
def test_command_takes_the_program_from_the_first_word(arguments: list[str], expected: list[str]) -> None:
    assert command(arguments) == expected


def test_command_of_workers_has_the_options_of_the_procfile() -> None:
    line = next(line for line in PROCFILE.read_text().splitlines() if line.startswith("worker: "))
    shell = line.removeprefix("worker: dramatiq ")
    shell = shell.replace("${WEB_CONCURRENCY:-$(python -m pipeline.config.cpu_count)}", "3")
    expected = shell.replace("${WORKER_THREADS:-8}", "5").split()
    program, flag, module, *options = command(["worker", "-Q", "fetch"])
    assert (program, flag, module) == (sys.executable, "-m", "dramatiq")
    assert options[-2:] == ["-Q", "fetch"]
    assert sorted(options[:-2]) == sorted(expected)


def test_command_of_workers_names_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_THREADS", "many")
    with pytest.raises(SettingsError, match="WORKER_THREADS"):
        command(["worker"])
