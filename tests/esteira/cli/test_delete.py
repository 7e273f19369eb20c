"""`esteira delete`: what goes, what is told of what cannot, and that it asks."""

from __future__ import annotations

from pipeline.catalogue import Catalogue
from pipeline.models import Status
from tests.support.catalogues import finished
from tests.support.esteira import Installation

LOOPBACK = "http://127.0.0.1:9/file"
UNKNOWN = "0" * 32


def test_what_has_ended_goes_and_what_cannot_is_told(installation: Installation) -> None:
    waiting = installation.run("submit", LOOPBACK, "--json").json["id"]
    catalogue = Catalogue(f"sqlite:///{installation.env['VAR_DIR']}/esteira.db")
    failed = finished(catalogue, Status.FAILED).id
    catalogue.close()
    unasked = installation.run("delete", failed)
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert installation.run("status", failed, "--json").json["status"] == "failed"
    ended = installation.run("delete", failed, waiting, UNKNOWN, "--yes", "--json")
    assert ended.code == 1
    assert ended.json == {"deleted": 1, "missed": [waiting, UNKNOWN]}
    assert waiting in ended.err
    assert installation.run("status", failed, "--json").json["status"] == "deleted"
    assert installation.run("delete", failed, "--yes").out == "1 of 1 deleted\n"
    assert installation.run("delete").code == 2
