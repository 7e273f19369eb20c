"""`esteira failures` and the remedy in `esteira status`."""

from __future__ import annotations

from pipeline.catalogue import Catalogue
from pipeline.errors import Code
from pipeline.models import Record, Stage, Status
from pipeline.remedies import remedy
from tests.support.catalogues import attachment, finished
from tests.support.esteira import Installation


def failed(installation: Installation, code: Code, stage: Stage = Stage.FETCH, session: str = "shop") -> Record:
    catalogue = Catalogue(f"sqlite:///{installation.folder}/esteira.db")
    try:
        of = attachment(session=session)
        return finished(catalogue, Status.FAILED, of=of, stage=stage, code=code, message="the original message")
    finally:
        catalogue.close()


def test_failures_are_grouped_with_their_remedies(installation: Installation) -> None:
    for session in ("shop", "shop", "ba\x1b[2Jr"):
        failed(installation, Code.FETCH_TIMEOUT, session=session)
    last = failed(installation, Code.STORAGE, Stage.PERSIST)
    shown = installation.run("failures").out
    table, *remedies = shown.split("\n\n")
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["fetch_timeout", "fetch", "3"],
        ["storage", "persist", "1"],
    ]
    assert last.id in table
    assert "\x1b" not in shown
    words = remedy("storage")
    assert words
    assert [line.strip() for line in remedies[1].splitlines()] == ["storage", *words]


def test_failures_json_has_the_selected_language(installation: Installation) -> None:
    record = failed(installation, Code.FETCH_TIMEOUT)
    [group] = installation.run("failures", "--json", "--language", "pt-BR", "--since", "1h").json
    assert (group["code"], group["stage"], group["count"], group["busiest"]) == ("fetch_timeout", "fetch", 1, ["shop"])
    assert group["example"]["id"] == record.id
    assert (group["happened"], group["to_do"]) == remedy("fetch_timeout", language="pt-BR")
    assert installation.run("failures", "--json", "--session", "other").json == []


def test_status_shows_a_remedy_only_for_unsuccessful_attachments(installation: Installation) -> None:
    words = remedy("source_gone")
    assert words
    shown = installation.run("status", failed(installation, Code.SOURCE_GONE).id).out
    assert [line for line in shown.splitlines() if line][-2:] == list(words)
    waiting = installation.run("submit", "http://127.0.0.1:9/x", "--json").lines[0]["id"]
    assert "\n\n" not in installation.run("status", waiting).out
