"""`esteira derive`: which previews are asked for, and that it asks before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.catalogue import Catalogue, Preview, PreviewState
from tests.support.catalogues import SHA256, attachment, claimed, finished
from tests.support.esteira import Installation


@pytest.fixture
def catalogue(installation: Installation) -> Iterator[Catalogue]:
    assert installation.run("migrate").code == 0
    catalogue = Catalogue(f"sqlite:///{installation.env['VAR_DIR']}/esteira.db")
    yield catalogue
    catalogue.close()


def waiting(installation: Installation) -> int:
    return int(installation.run("stats", "--json").json["queues"]["derive"]["ready"])


def test_each_content_without_a_preview_is_asked_for_once(installation: Installation, catalogue: Catalogue) -> None:
    for session in ("a", "a", "b"):
        finished(catalogue, of=attachment(session=session))
    unasked = installation.run("derive")
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert installation.run("derive", "--session", "nobody", "--json").json == {"matched": 0, "asked": 0}
    assert installation.run("derive", "--yes", "--json").json == {"matched": 1, "asked": 1}
    assert waiting(installation) == 1
    assert installation.run("derive", "--yes").out == "0 of 1 asked for\n"
    assert waiting(installation) == 1


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
    installation: Installation, catalogue: Catalogue, state: PreviewState, options: tuple[str, ...], asked: int
) -> None:
    finished(catalogue)
    catalogue.previews.save(Preview(sha256=SHA256, state=state))
    assert installation.run("derive", "--yes", "--json", *options).json == {"matched": asked, "asked": asked}
    assert waiting(installation) == asked
    assert bool(catalogue.previews.get_many([SHA256])) is not bool(asked)


def test_what_is_not_stored_has_no_preview(installation: Installation, catalogue: Catalogue) -> None:
    claimed(catalogue, catalogue.accept(attachment()).id)
    assert installation.run("derive", "--yes", "--json").json == {"matched": 0, "asked": 0}


def test_where_none_are_made_it_says_so(installation: Installation) -> None:
    installation.env["PREVIEWS"] = "false"
    said = installation.run("derive", "--yes")
    assert said.code == 2
    assert "PREVIEWS" in said.err
