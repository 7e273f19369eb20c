"""`esteira rotate-keys`: counts, rotation, missing keys, interruption."""

from __future__ import annotations

import base64
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.catalogue import Catalogue
from pipeline.security.encryption import SourceCipher
from tests.support.catalogues import attachment, finished
from tests.support.esteira import BIN, Installation
from tests.support.waiting import wait_until

OLD, NEW, LOST = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
OLD_ID, NEW_ID, LOST_ID = (SourceCipher([key]).key_ids[0] for key in (OLD, NEW, LOST))


@pytest.fixture
def url(installation: Installation) -> str:
    return f"sqlite:///{installation.folder}/esteira.db"


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    with closing(Catalogue(url, keys=[OLD])) as catalogue:
        yield catalogue


def accept(catalogue: Catalogue, number: int) -> None:
    for _ in range(number):
        catalogue.accept(attachment())


def test_dry_run_counts_rows_by_key_and_changes_nothing(installation: Installation, catalogue: Catalogue) -> None:
    accept(catalogue, 3)
    finished(catalogue)
    rotating = installation.with_settings(ENCRYPTION_KEYS=f"{NEW},{OLD}")
    for _ in range(2):
        counted = rotating.run("rotate-keys", "--dry-run", "--json")
        assert (counted.code, counted.err) == (0, "")
        assert counted.json == {"rewritten": 0, "keys": {NEW_ID: 0, OLD_ID: 3}, "removable": []}


def test_rotation_says_which_key_can_be_removed(installation: Installation, url: str, catalogue: Catalogue) -> None:
    accept(catalogue, 3)
    rotating = installation.with_settings(ENCRYPTION_KEYS=f"{NEW},{OLD}")
    rotated = rotating.run("rotate-keys")
    assert rotated.code == 0, rotated.err
    assert "3 rows rewritten" in rotated.out
    assert f"The key {OLD_ID} is not used by any row: it can be removed from ENCRYPTION_KEYS." in rotated.err
    assert NEW not in rotated.out + rotated.err
    assert rotating.run("rotate-keys", "--json").json == {
        "rewritten": 0,
        "keys": {NEW_ID: 3, OLD_ID: 0},
        "removable": [OLD_ID],
    }
    with closing(Catalogue(url, keys=[NEW])) as without_the_old_key:
        assert without_the_old_key.sources.missing_keys() == {}


def test_rows_in_plain_text_are_encrypted(installation: Installation, url: str) -> None:
    with closing(Catalogue(url)) as plain:
        accept(plain, 2)
    counted = installation.run("rotate-keys", "--dry-run")
    assert (counted.code, "not encrypted" in counted.out) == (0, True)
    rotated = installation.with_settings(ENCRYPTION_KEYS=NEW).run("rotate-keys", "--json")
    assert rotated.json == {"rewritten": 2, "keys": {NEW_ID: 2}, "removable": []}


def test_rows_of_a_missing_key_give_exit_status_1_and_stay(
    installation: Installation, url: str, catalogue: Catalogue
) -> None:
    with closing(Catalogue(url, keys=[LOST])) as lost:
        accept(lost, 1)
    accept(catalogue, 1)
    rotating = installation.with_settings(ENCRYPTION_KEYS=f"{NEW},{OLD}")
    rotated = rotating.run("rotate-keys")
    assert rotated.code == 1
    assert f"{LOST_ID}" in rotated.out
    assert "missing in ENCRYPTION_KEYS" in rotated.out
    with closing(Catalogue(url, keys=[LOST])) as lost:
        assert lost.sources.count_by_key() == {NEW_ID: 1, LOST_ID: 1}


def test_without_keys_the_error_says_how_to_make_one(installation: Installation) -> None:
    refused = installation.run("rotate-keys")
    assert refused.code == 2
    assert "ENCRYPTION_KEYS: is not set: make a key with `openssl rand -base64 32" in refused.err


@pytest.mark.slow
def test_interrupted_rotation_is_continued(installation: Installation, catalogue: Catalogue) -> None:
    accept(catalogue, 3000)
    rotating = installation.with_settings(ENCRYPTION_KEYS=f"{NEW},{OLD}")
    process = subprocess.Popen(
        [str(BIN / "esteira"), "rotate-keys"],
        cwd=rotating.folder,
        env=rotating.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: catalogue.sources.count_by_key().get(NEW_ID, 0) > 0 or process.poll() is not None, 60)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    before = catalogue.sources.count_by_key()
    assert sum(before.values()) == 3000
    rotated = rotating.run("rotate-keys", "--json").json
    assert rotated["rewritten"] == 3000 - before.get(NEW_ID, 0)
    assert rotated["keys"] == {NEW_ID: 3000, OLD_ID: 0}
