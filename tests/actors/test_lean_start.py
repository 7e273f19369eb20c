"""Imports at the start of a process: modules that few processes need are imported later."""

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
def test_rarely_needed_modules_are_not_imported_at_start(module: str) -> None:
    assert imported_with(module, *HEAVY) == []


@pytest.mark.parametrize("command", ["list", "status", "failures", "audit"])
def test_reading_command_imports_no_service_but_the_catalogue(command: str) -> None:
    others = ("redis", "dramatiq", "requests", "urllib3", "obstore", "pipeline.services", "pipeline.http_client")
    assert imported_with(f"esteira.cli.{command}", "pipeline.catalogue", *others) == ["pipeline.catalogue"]


def test_sandbox_child_does_not_import_pydantic() -> None:
    assert imported_with("pipeline.media_types.examine", "magic", "pydantic") == ["magic"]


def test_command_imports_no_other_command() -> None:
    names = ("esteira.cli.app", "esteira.cli.status", "sqlalchemy", "pydantic", "redis")
    assert imported_with("esteira.cli.app", *names) == ["esteira.cli.app"]
