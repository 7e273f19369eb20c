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
        return finished(catalogue, Status.FAILED, of=of, stage=stage, code=code, message="as it says itself")
    finally:
        catalogue.close()


def test_failures_are_shown_in_groups_with_their_remedies(installation: Installation) -> None:
    for session in ("shop", "shop", "ba\x1b[2Jr"):
        failed(installation, Code.FETCH_TIMEOUT, session=session)
    last = failed(installation, Code.STORAGE, Stage.PERSIST)
    shown = installation.run("failures").out
    table, *told = shown.split("\n\n")
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["fetch_timeout", "fetch", "3"],
        ["storage", "persist", "1"],
    ]
    assert last.id in table
    assert "\x1b" not in shown
    words = remedy("storage")
    assert words
    assert [line.strip() for line in told[1].splitlines()] == ["storage", *words]


def test_failures_as_json_have_their_texts_in_the_language_asked_for(installation: Installation) -> None:
    record = failed(installation, Code.FETCH_TIMEOUT)
    [group] = installation.run("failures", "--json", "--language", "pt-BR", "--since", "1h").json
    assert (group["code"], group["stage"], group["count"], group["busiest"]) == ("fetch_timeout", "fetch", 1, ["shop"])
    assert group["example"]["id"] == record.id
    assert (group["happened"], group["to_do"]) == remedy("fetch_timeout", language="pt-BR")
    assert installation.run("failures", "--json", "--session", "other").json == []


def test_status_tells_the_remedy_of_what_failed_and_of_nothing_else(installation: Installation) -> None:
    words = remedy("source_gone")
    assert words
    shown = installation.run("status", failed(installation, Code.SOURCE_GONE).id).out
    assert [line for line in shown.splitlines() if line][-2:] == list(words)
    waiting = installation.run("submit", "http://127.0.0.1:9/x", "--json").lines[0]["id"]
    assert "\n\n" not in installation.run("status", waiting).out
