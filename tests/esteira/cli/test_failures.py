"""`esteira failures` and the remedy in `esteira status`."""

from __future__ import annotations

from pipeline.catalogue import Catalogue
from pipeline.errors import Code
from pipeline.models import Record, Stage, Status
from pipeline.remedies import remedy
from tests.support.catalogues import attachment, finished
from tests.support.esteira import Site


def failed(place: Site, code: Code, stage: Stage = Stage.FETCH, session: str = "shop") -> Record:
    catalogue = Catalogue(f"sqlite:///{place.folder}/esteira.db")
    try:
        of = attachment(session=session)
        return finished(catalogue, Status.FAILED, of=of, stage=stage, code=code, message="as it says itself")
    finally:
        catalogue.close()


def test_failures_are_shown_in_groups_with_their_remedies(place: Site) -> None:
    for session in ("shop", "shop", "ba\x1b[2Jr"):
        failed(place, Code.FETCH_TIMEOUT, session=session)
    last = failed(place, Code.STORAGE, Stage.PERSIST)
    shown = place.run("failures").out
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


def test_failures_as_json_have_their_texts_in_the_language_asked_for(place: Site) -> None:
    record = failed(place, Code.FETCH_TIMEOUT)
    [group] = place.run("failures", "--json", "--language", "pt-BR", "--since", "1h").json
    assert (group["code"], group["stage"], group["count"], group["busiest"]) == ("fetch_timeout", "fetch", 1, ["shop"])
    assert group["example"]["id"] == record.id
    assert (group["happened"], group["to_do"]) == remedy("fetch_timeout", language="pt-BR")
    assert place.run("failures", "--json", "--session", "other").json == []


def test_status_tells_the_remedy_of_what_failed_and_of_nothing_else(place: Site) -> None:
    words = remedy("source_gone")
    assert words
    shown = place.run("status", failed(place, Code.SOURCE_GONE).id).out
    assert [line for line in shown.splitlines() if line][-2:] == list(words)
    waiting = place.run("submit", "http://127.0.0.1:9/x", "--json").lines[0]["id"]
    assert "\n\n" not in place.run("status", waiting).out
