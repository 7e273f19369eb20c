"""`esteira derive`: which previews it requests, and its confirmation."""

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


def queued_previews(installation: Installation) -> int:
    return int(installation.run("stats", "--json").json["queues"]["derive"]["ready"])


def test_derive_requests_one_preview_per_content(installation: Installation, catalogue: Catalogue) -> None:
    for session in ("a", "a", "b"):
        finished(catalogue, of=attachment(session=session))
    unconfirmed = installation.run("derive")
    assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
    assert installation.run("derive", "--session", "other", "--json").json == {"matched": 0, "asked": 0}
    assert installation.run("derive", "--yes", "--json").json == {"matched": 1, "asked": 1}
    assert queued_previews(installation) == 1
    assert installation.run("derive", "--yes").out == "0 of 1 requested\n"
    assert queued_previews(installation) == 1


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
def test_derive_repeats_existing_previews_only_with_its_options(
    installation: Installation, catalogue: Catalogue, state: PreviewState, options: tuple[str, ...], asked: int
) -> None:
    finished(catalogue)
    catalogue.previews.save(Preview(sha256=SHA256, state=state))
    assert installation.run("derive", "--yes", "--json", *options).json == {"matched": asked, "asked": asked}
    assert queued_previews(installation) == asked
    assert bool(catalogue.previews.get_many([SHA256])) is not bool(asked)


def test_derive_skips_attachments_that_are_not_stored(installation: Installation, catalogue: Catalogue) -> None:
    claimed(catalogue, catalogue.accept(attachment()).id)
    assert installation.run("derive", "--yes", "--json").json == {"matched": 0, "asked": 0}


def test_derive_reports_that_previews_are_off(installation: Installation) -> None:
    installation.env["PREVIEWS"] = "false"
    result = installation.run("derive", "--yes")
    assert result.code == 2
    assert "PREVIEWS" in result.err
