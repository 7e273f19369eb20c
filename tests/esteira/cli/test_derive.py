"""`esteira derive`: which previews are asked for, and that it asks before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.catalogue import Catalogue, Preview, PreviewState
from tests.support.catalogues import SHA256, attachment, claimed, finished
from tests.support.esteira import Site


@pytest.fixture
def catalogue(place: Site) -> Iterator[Catalogue]:
    assert place.run("migrate").code == 0
    catalogue = Catalogue(f"sqlite:///{place.env['VAR_DIR']}/esteira.db")
    yield catalogue
    catalogue.close()


def waiting(place: Site) -> int:
    return int(place.run("stats", "--json").json["queues"]["derive"]["ready"])


def test_each_content_without_a_preview_is_asked_for_once(place: Site, catalogue: Catalogue) -> None:
    for session in ("a", "a", "b"):
        finished(catalogue, of=attachment(session=session))
    unasked = place.run("derive")
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert place.run("derive", "--session", "nobody", "--json").json == {"matched": 0, "asked": 0}
    assert place.run("derive", "--yes", "--json").json == {"matched": 1, "asked": 1}
    assert waiting(place) == 1
    assert place.run("derive", "--yes").out == "0 of 1 asked for\n"
    assert waiting(place) == 1


@pytest.mark.parametrize(
    ("state", "options", "asked"),
    [
        (PreviewState.MADE, (), 0),
        (PreviewState.FAILED, (), 0),
        (PreviewState.FAILED, ("--failed",), 1),
        (PreviewState.MADE, ("--failed",), 0),
        (PreviewState.NONE, ("--again",), 1),
        (PreviewState.MADE, ("--again",), 1),
    ],
)
def test_what_is_noted_is_asked_for_anew_only_on_request(
    place: Site, catalogue: Catalogue, state: PreviewState, options: tuple[str, ...], asked: int
) -> None:
    finished(catalogue)
    catalogue.previews.keep(Preview(sha256=SHA256, state=state))
    assert place.run("derive", "--yes", "--json", *options).json == {"matched": asked, "asked": asked}
    assert waiting(place) == asked
    assert bool(catalogue.previews.of([SHA256])) is not bool(asked)


def test_what_is_not_stored_has_no_preview(place: Site, catalogue: Catalogue) -> None:
    claimed(catalogue, catalogue.accept(attachment()).id)
    assert place.run("derive", "--yes", "--json").json == {"matched": 0, "asked": 0}


def test_where_none_are_made_it_says_so(place: Site) -> None:
    place.env["PREVIEWS"] = "false"
    said = place.run("derive", "--yes")
    assert said.code == 2
    assert "PREVIEWS" in said.err
