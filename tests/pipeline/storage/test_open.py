from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.storage import LocalStorage, content_key, intake_key, open_storage
from pipeline.storage.object_store import ObjectStorage


@pytest.mark.parametrize("url", ["file:///srv/my%20media", "file://localhost/srv/my%20media", "/srv/my media"])
def test_directory_opens_local_storage(url: str) -> None:
    assert open_storage(url) == LocalStorage(Path("/srv/my media"))


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/pre/fix/", "gs://bucket/x", "az://container"])
def test_bucket_opens_an_object_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    storage = open_storage(url)
    assert isinstance(storage, ObjectStorage)
    assert storage.url("ab/x") == f"{url.rstrip('/')}/ab/x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "media",
        "file://media",
        "file://host/media",
        "http://host/x",
        "s3://",
        "s3://b?secret=x",
        "s3://u:p@b",
        "s3://[",
        "memory://",
    ],
)
def test_other_urls_raise_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="STORAGE_URL") as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


def test_keys_are_derived_from_hash_and_id() -> None:
    assert content_key("abcd" * 16) == "ab/" + "abcd" * 16
    assert intake_key("0" * 32) == "intake/" + "0" * 32
