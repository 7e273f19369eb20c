"""A reload whose preparation goes wrong: it fails with one line, and the parts go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from esteira.cli.preparation import facts_of
from esteira.cli.supervisor import reloading
from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part import Part, Running
from esteira.cli.supervisor.part_lines import text_line
from esteira.cli.supervisor.reloading import Reloading
from esteira.cli.supervisor.requests import Request
from esteira.cli.supervisor.supervisor import Supervisor
from pipeline.config.settings import load_settings
from pipeline.service_manager.notify import ServiceManager


class Answer(Request):
    """A request that keeps its last line."""

    failure: str | None = "not finished"

    def finish(self, failure: str | None = None) -> None:
        self.failure = failure


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> tuple[Reloading, Answer]:
    """Reloads an idle worker, with this command in place of the preparation."""
    monkeypatch.setattr(reloading, "preparation_command", lambda: command)
    facts = facts_of(load_settings(_env_file=None, var_dir=tmp_path))
    answer = Answer()
    with Supervisor(LinePrinter(text_line), lambda _text, _level: None) as supervisor:
        worker = Part("worker", lambda: Running(subprocess.Popen(["sleep", "60"], start_new_session=True)))
        supervisor.start(worker)
        made = Reloading(supervisor, os.environ, facts, ServiceManager())
        made.reload(answer, web=None, worker=worker)
        assert worker.is_ready()
    return made, answer


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        (["/nowhere/python", "-c", ""], "the preparation cannot be started"),
        (python("print('half an upgrade')"), "the preparation has printed no facts"),
        (python("print([])"), "the preparation has printed no facts"),
        (python(""), "the preparation has printed no facts"),
        (python("import sys; sys.exit('esteira: no')"), "no"),
        (python("import os; os.abort()"), "the preparation ended (killed by SIGABRT)"),
    ],
)
def test_preparation_that_goes_wrong_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], failure: str
) -> None:
    _, answer = reload(tmp_path, monkeypatch, command)
    assert str(answer.failure).startswith(failure)


def test_facts_of_another_version_replace_those_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = python("print('a line of a library'); print('{\"WORKER_THREADS\": 3, \"NEW\": 1}')")
    made, answer = reload(tmp_path, monkeypatch, other)
    assert answer.failure is None
    assert (made.facts["WORKER_THREADS"], made.facts["VAR_DIR"]) == (3, str(tmp_path))
