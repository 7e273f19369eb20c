"""`esteira delete`: what it deletes, what it refuses, and its confirmation."""

from __future__ import annotations

from pipeline.catalogue import Catalogue
from pipeline.models import Status
from tests.support.catalogues import finished
from tests.support.esteira import Installation

LOOPBACK = "http://127.0.0.1:9/file"
UNKNOWN = "0" * 32


def test_delete_removes_finished_attachments_and_reports_the_others(installation: Installation) -> None:
    waiting = installation.run("submit", LOOPBACK, "--json").json["id"]
    catalogue = Catalogue(f"sqlite:///{installation.env['VAR_DIR']}/esteira.db")
    failed = finished(catalogue, Status.FAILED).id
    catalogue.close()
    unconfirmed = installation.run("delete", failed)
    assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
    assert installation.run("status", failed, "--json").json["status"] == "failed"
    result = installation.run("delete", failed, waiting, UNKNOWN, "--yes", "--json")
    assert result.code == 1
    assert result.json == {"deleted": 1, "missed": [waiting, UNKNOWN]}
    assert waiting in result.err
    assert installation.run("status", failed, "--json").json["status"] == "deleted"
    assert installation.run("delete", failed, "--yes").out == "1 of 1 deleted\n"
    assert installation.run("delete").code == 2
