"""What a process imports at its start: what few need is left out until it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("sentry_sdk", "jwt", "sqlalchemy.dialects.postgresql", "alembic", "av", "PIL", "fastapi")


def imported_with(module: str, *names: str) -> list[str]:
    """Which of these are there once this module is imported, in a process of its own."""
    code = f"import sys, {module}; print(*(name for name in {names} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["actors.hook", "actors.execution.executor", "esteira.cli.status"])
def test_what_few_processes_need_is_not_there_at_the_start(module: str) -> None:
    assert imported_with(module, *HEAVY) == []


def test_a_child_of_the_sandbox_does_without_pydantic() -> None:
    assert imported_with("pipeline.media_types.examine", "magic", "pydantic") == ["magic"]


def test_the_command_by_itself_imports_no_other() -> None:
    names = ("esteira.cli.app", "esteira.cli.status", "sqlalchemy", "pydantic", "redis")
    assert imported_with("esteira.cli.app", *names) == ["esteira.cli.app"]
