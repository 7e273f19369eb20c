"""Tables of the commands at every width: ids are whole, lines fit, and a pipe has no limit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from esteira.cli.table_layout import Column, Table
from pipeline.catalogue import Catalogue, DeliveryResult
from pipeline.errors import Code
from pipeline.models import Stage, Status
from tests.support.catalogues import attachment, finished
from tests.support.cli_forkserver import CliForkserver
from tests.support.esteira import Installation, new_installation
from tests.support.valkey import running_valkey
from tests.support.webhooks import announced_record, endpoints

WIDTHS = (40, 60, 80, 120, 200)
ID = re.compile(r"\b[0-9a-f]{32}\b")
LOOPBACK = "http://127.0.0.1:9/file"
NAMES = ("n" * 251 + ".jpg", "写真" * 80 + ".jpg", "👩‍👩‍👧🎉.jpg", "tab\there\x1b[2J\n.jpg", "plain.jpg")
SCREEN = Console(width=80)


@pytest.fixture(scope="module")
def crowded(forkserver: CliForkserver) -> Iterator[Installation]:
    """An installation with long, wide and hostile names, failures, and a pending and a given-up delivery."""
    url = f"http://127.0.0.1:9/{'p' * 100}"
    endpoint = endpoints({"name": "crm", "url": url})
    with (
        running_valkey() as valkey,
        new_installation(forkserver, REDIS_URL=valkey.url, WEBHOOK_ENDPOINTS=endpoint) as installation,
    ):
        assert installation.run("migrate").code == 0
        _fill(installation)
        yield installation


def _fill(installation: Installation) -> None:
    rows = [
        {"session": f"shop {name}", "message_id": f"m{n}", "url": LOOPBACK, "filename": name, "kind": "document"}
        for n, name in enumerate(NAMES)
    ]
    installation.run("submit", "--jsonl", "-", stdin="\n".join(map(json.dumps, rows)))
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        for code in (Code.FETCH_TIMEOUT, Code.FETCH_UNAVAILABLE):
            of = attachment(session="s" * 255, message_id=f"failed {code}", filename="f" * 255)
            finished(catalogue, Status.FAILED, of=of, stage=Stage.FETCH, code=code, message="a long message " * 20)
        announced_record(catalogue, "crm")
        [attempt] = catalogue.deliveries.record_and_claim("crm", [], want=1, lease_s=40).attempts
        result = DeliveryResult(attempt, f"the endpoint answered {'x' * 300}")
        catalogue.deliveries.record_and_claim("crm", [result], want=0, lease_s=40)
        announced_record(catalogue, "crm", session="写真" * 30)
    installation.run("pause", "session", "写真" * 60)


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_fit_the_terminal_and_ids_are_whole(crowded: Installation, width: int) -> None:
    for command, ids in ((("list",), 9), (("webhooks", "list"), 2), (("failures",), 2), (("pauses",), 0)):
        shown = crowded.run_in_terminal(*command, width=width)
        assert shown.code == 0, shown.err
        # The sentences of the remedies follow the failures; the terminal wraps them.
        lines = (shown.out.partition("\n\n")[0] if command == ("failures",) else shown.out).splitlines()
        assert all(cell_len(line) <= width for line in lines), shown.out
        expected = 0 if command == ("failures",) and width == 40 else ids
        assert len([line for line in lines if ID.search(line)]) == expected, shown.out
        assert "\x1b" not in shown.out


def test_stats_fit_the_terminal(crowded: Installation) -> None:
    for width in WIDTHS:
        shown = crowded.run_in_terminal("stats", width=width).out
        assert all(cell_len(line) <= width for line in shown.splitlines()), shown
        for whole in ("ready", "received 9", "deduplicated 0", "paused    session"):
            assert whole in shown


def test_list_shows_both_names_at_80_columns(crowded: Installation) -> None:
    header, *rows = crowded.run_in_terminal("list", width=80).out.splitlines()
    assert header.split()[:2] == ["id", "status"]
    assert "declared" in header
    assert any("plain.jpg" in row for row in rows)


def test_list_shows_stored_and_declared_name(installation: Installation) -> None:
    with closing(Catalogue(f"sqlite:///{installation.folder}/esteira.db")) as catalogue:
        record = finished(catalogue, Status.DONE, of=attachment(filename="as sent.jpeg"))
    for shown in (installation.run("list").out, installation.run_in_terminal("list", width=120).out):
        header, row = shown.splitlines()[:2]
        assert row[header.index("declared") :].startswith("as sent.jpeg")
        assert row[header.index("name") :].startswith(str(record.name))


def test_columns_that_do_not_fit_are_named(crowded: Installation) -> None:
    assert "Not shown at this width: stage" in crowded.run_in_terminal("list", width=60).out
    assert "Not shown" not in crowded.run("list").out


def test_columns_variable_overrides_the_width_of_the_terminal(crowded: Installation) -> None:
    shown = crowded.run_in_terminal("list", width=200, COLUMNS="60").out
    assert max(map(cell_len, shown.splitlines())) <= 60
    for nonsense in ("0", "-5", "wide"):
        shown = crowded.run_in_terminal("list", width=60, COLUMNS=nonsense).out
        assert max(map(cell_len, shown.splitlines())) <= 60


@pytest.mark.parametrize("columns", [None, "40"])
def test_pipe_has_no_limit_and_every_column(crowded: Installation, columns: str | None) -> None:
    piped = crowded.with_settings(COLUMNS=columns) if columns else crowded
    header, *rows = piped.run("list").out.splitlines()
    assert " ".join(header.split()) == "id status stage age kind session message id name declared error"
    assert len(rows) == 9
    assert NAMES[0] in piped.run("list").out
    assert "f" * 255 in piped.run("list").out


def test_emoji_sequences_stay_whole(crowded: Installation) -> None:
    assert "👩‍👩‍👧🎉.jpg" in crowded.run("list").out


def test_status_breaks_no_id_on_a_narrow_terminal(crowded: Installation) -> None:
    [record, *_] = crowded.run("list", "--status", "failed", "--json").json
    shown = crowded.run_in_terminal("status", record["id"], width=40).out
    assert f"\n  {record['id']}\n" in f"\n{shown}"


def test_history_wraps_the_error_and_cuts_nothing(crowded: Installation) -> None:
    [record, *_] = crowded.run("list", "--status", "failed", "--json").json
    shown = crowded.run_in_terminal("status", record["id"], width=80).out
    table = shown.partition("\n\n")[2]
    assert table.replace("\n", " ").split().count("message") == 20, shown


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("list",), "No attachments match."),
        (("failures",), "No unsuccessful attachments match."),
        (("pauses",), "Nothing is paused."),
        (("webhooks", "list"), "No webhook endpoints: set WEBHOOK_URL"),
        (("webhooks", "list"), "No deliveries match."),
    ],
)
def test_empty_list_says_so_on_stderr_only(installation: Installation, command: tuple[str, ...], message: str) -> None:
    shown = installation.run(*command)
    assert (shown.code, shown.out) == (0, "")
    assert message in shown.err
    assert installation.run(*command, "--json").err == ""


cells = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=60)


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4), width=st.integers(1, 200))
def test_whole_columns_are_never_cut(rows: list[tuple[str, str, str]], width: int) -> None:
    columns = [Column("a", rank=0), Column("b", rank=2), Column("c", rank=1, least=6)]
    table = Table(columns, [[Text(cell) for cell in row] for row in rows])
    whole_b = "b" not in table.hidden(width)
    lines = [line.plain for line in table.lines(SCREEN, width)][1:]
    for line, (a, b, _) in zip(lines, rows, strict=True):
        assert line.startswith(a)
        assert not whole_b or b in line or not any(row[1] for row in rows)


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4), width=st.integers(1, 200))
def test_shortened_columns_never_exceed_the_width(rows: list[tuple[str, str, str]], width: int) -> None:
    columns = [Column(name, rank=rank, least=6) for rank, name in enumerate("abc")]
    table = Table(columns, [[Text(cell) for cell in row] for row in rows])
    assert all(line.cell_len <= width for line in table.lines(SCREEN, width))
