"""What a sender wrote moves no cursor and is no markup."""

from __future__ import annotations

import pytest

from esteira.cli.output import print_table, printable


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "a\nb", "\x07", "\u202egpj.exe", "\x9b31m"])
def test_control_characters_do_not_reach_the_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_text_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("[bold red]loud[/]",)])
    assert "[bold red]loud[/]" in capsys.readouterr().out


def test_a_table_in_a_pipe_has_one_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("x" * 300, "y" * 300), ("1", "2")])
    assert len(capsys.readouterr().out.splitlines()) == 3
