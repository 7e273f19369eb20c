"""The staging directory has complete files only, and no leftovers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.errors import Code, RetryableError, StagingLostError
from pipeline.storage.staging import Staging


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "deep" / "staging")


def names(staging: Staging) -> list[str]:
    return sorted(path.name for path in staging.folder.iterdir())


def test_part_is_renamed_when_complete(staging: Staging) -> None:
    with staging.part("a") as out:
        out.write(b"bytes")
        assert not staging.exists("a")
        assert len(names(staging)) == 1
    assert staging.path("a").read_bytes() == b"bytes"
    assert names(staging) == ["a"]
    assert staging.folder.stat().st_mode & 0o777 == 0o700


def test_failed_part_is_removed(staging: Staging) -> None:
    def stopped() -> None:
        with staging.part("a") as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert names(staging) == []


def test_concurrent_parts_of_one_attachment_are_separate(staging: Staging) -> None:
    with staging.part("a") as first, staging.part("a") as second:
        first.write(b"first")
        second.write(b"second")
    assert staging.path("a").read_bytes() == b"first"
    assert names(staging) == ["a"]


def test_full_disk_is_a_retryable_error(staging: Staging) -> None:
    with pytest.raises(RetryableError) as error, staging.part("a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.code == Code.STAGING
    assert "No space left" in error.value.message
    assert names(staging) == []


def test_directory_that_cannot_be_created_is_a_retryable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RetryableError) as error, Staging(tmp_path / "file" / "staging").part("a"):
        pytest.fail("there is nothing to write to")
    assert error.value.code == Code.STAGING


def test_missing_staged_file_raises_staging_lost(staging: Staging) -> None:
    with pytest.raises(StagingLostError) as error:
        staging.path("a")
    assert error.value.code == Code.STAGING_LOST


def test_discard_is_idempotent(staging: Staging) -> None:
    with staging.part("a") as out:
        out.write(b"bytes")
    staging.discard("a")
    staging.discard("a")
    assert not staging.exists("a")


def test_discard_older_removes_unmodified_files(staging: Staging) -> None:
    assert staging.discard_older(60) == 0
    for name in ("old", "new"):
        with staging.part(name) as out:
            out.write(b"bytes")
    (staging.folder / "folder").mkdir()
    for name in ("old", "folder"):
        os.utime(staging.folder / name, (0, 0))
    assert staging.discard_older(60) == 1
    assert names(staging) == ["folder", "new"]
