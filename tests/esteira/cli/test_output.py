"""Text from senders: no control characters, no markup."""

from __future__ import annotations

import pytest

from esteira.cli.output import print_table, printable


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "a\nb", "\x07", "\u202egpj.exe", "\x9b31m"])
def test_printable_replaces_control_characters(text: str) -> None:
    assert printable(text).isprintable()


def test_table_prints_markup_literally(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("[bold red]loud[/]",)])
    assert "[bold red]loud[/]" in capsys.readouterr().out


def test_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("x" * 300, "y" * 300), ("1", "2")])
    assert len(capsys.readouterr().out.splitlines()) == 3
