"""The group `esteira`: its list of commands imports none of them, and every line of the table is true."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from esteira.cli.app import esteira
from esteira.cli.commands import COMMANDS, load_command

HEAVY = ("sqlalchemy", "redis", "dramatiq", "pydantic", "PIL", "av", "fastapi", "structlog", "pipeline.services")
EXAMPLE = Path(__file__).parents[3] / ".env.example"


def imported_by(*arguments: str) -> tuple[str, list[str]]:
    """The output of `esteira` with these arguments, and which of the HEAVY modules and commands it imported."""
    modules = (*HEAVY, *{entry.path.partition(":")[0] for entry in COMMANDS.values()})
    code = f"""
import sys
from esteira.cli.app import main
try:
    main()
finally:
    sys.stderr.write(" ".join(name for name in {modules} if name in sys.modules))
"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr.split()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_no_command_and_nothing_heavy(option: str) -> None:
    shown, imported = imported_by(option)
    assert shown
    assert imported == []


def test_help_lists_every_command() -> None:
    shown, _ = imported_by("--help")
    for name in COMMANDS:
        assert f"│ {name} " in shown


def test_settings_prints_the_example_and_imports_nothing_heavy() -> None:
    shown, imported = imported_by("settings")
    assert shown == EXAMPLE.read_text("utf-8")
    assert imported == ["esteira.cli.settings"]


def test_settings_prints_the_same_bytes_where_stdout_is_ascii() -> None:
    command = [sys.executable, "-c", "from esteira.cli.app import main; main()", "settings"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(command, check=True, capture_output=True, env=ascii_only, timeout=60)
    assert (done.stdout, done.stderr) == (EXAMPLE.read_bytes(), b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_of_the_table_loads_and_has_the_help_of_its_line(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.short_help is None
    first_paragraph, *_ = inspect.cleandoc(command.help or "").split("\n\n")
    assert COMMANDS[name].help == " ".join(first_paragraph.split("\n"))
    assert (command.deprecated, command.hidden) == (False, False)


@pytest.mark.parametrize("name", COMMANDS)
def test_call_of_a_command_resolves_to_the_command_itself(name: str) -> None:
    found = esteira.resolve_command(click.Context(esteira), [name, "rest"])
    assert found == (name, load_command(name), ["rest"])


def test_shell_completion_knows_commands_and_their_options() -> None:
    completion = ShellComplete(esteira, {}, "esteira", "_ESTEIRA_COMPLETE")
    found = {item.value: item.help for item in completion.get_completions([], "s")}
    assert sorted(found) == [name for name in sorted(COMMANDS) if name.startswith("s")]
    assert "--status" in [item.value for item in completion.get_completions(["list"], "--s")]
    assert [item.value for item in completion.get_completions(["webhooks"], "l")] == ["list"]
