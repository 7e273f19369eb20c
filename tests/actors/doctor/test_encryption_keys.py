"""The doctor's check of ENCRYPTION_KEYS."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.doctor.catalogue import check_encryption
from actors.doctor.finding import Level
from pipeline.catalogue import Catalogue, sources
from pipeline.config.settings import Settings, load_settings
from pipeline.models import Status
from pipeline.security.encryption import SourceCipher
from tests.support.catalogues import attachment, finished

KEY, OTHER = f"{'A' * 42}E=", f"{'b' * 42}A="
[ID], [OTHER_ID] = SourceCipher([KEY]).key_ids, SourceCipher([OTHER]).key_ids


def settings(tmp_path: Path, keys: str | None) -> Settings:
    return load_settings(_env_file=None, var_dir=tmp_path, encryption_keys=keys)


@pytest.mark.parametrize(
    ("keys", "level", "shown"),
    [
        (None, Level.FAIL, f"2 attachments wait for keys that are not set: {ID}"),
        (OTHER, Level.FAIL, f"2 attachments wait for keys that are not set: {ID}"),
        (KEY, Level.OK, f"{ID} encrypts"),
        (f"{OTHER},{KEY}", Level.OK, f"{OTHER_ID} encrypts media keys and URLs; only for decrypting: {ID}"),
    ],
)
def test_missing_key_of_a_waiting_attachment_fails(tmp_path: Path, keys: str | None, level: Level, shown: str) -> None:
    catalogue = Catalogue(settings(tmp_path, None).database, keys=[KEY])
    catalogue.migrate()
    for _ in range(2):
        catalogue.accept(attachment())
    finished(catalogue)
    finding = check_encryption(settings(tmp_path, keys))
    assert finding.level is level
    assert shown in finding.message
    assert ("restart" in finding.remedy) is (level is Level.FAIL)


@pytest.mark.parametrize(
    ("number", "limit", "shown"),
    [
        (1, 1000, f"1 ended attachment cannot be replayed: key {ID} is missing"),
        (7, 1000, f"7 ended attachments cannot be replayed: key {ID} is missing"),
        (7, 2, f"4 or more ended attachments cannot be replayed: key {ID} is missing"),
    ],
)
def test_missing_key_of_ended_attachments_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, limit: int, shown: str
) -> None:
    monkeypatch.setattr(sources, "KEYS_OF_ENDED", sources.keys_of_ended(limit))
    monkeypatch.setattr(sources, "MAX_CHECKED", limit)
    catalogue = Catalogue(settings(tmp_path, None).database, keys=[KEY])
    catalogue.migrate()
    for _ in range(number):
        finished(catalogue, Status.FAILED)
    finding = check_encryption(settings(tmp_path, OTHER))
    assert (finding.level, finding.message) == (Level.WARN, shown)
    assert "ENCRYPTION_KEYS" in finding.remedy
    assert check_encryption(settings(tmp_path, f"{OTHER},{KEY}")).level is Level.OK


def test_no_key_and_no_encrypted_row_passes(tmp_path: Path) -> None:
    catalogue = Catalogue(settings(tmp_path, None).database)
    catalogue.migrate()
    catalogue.accept(attachment())
    assert check_encryption(settings(tmp_path, None)).level is Level.OK
