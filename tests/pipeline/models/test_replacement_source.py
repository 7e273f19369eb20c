"""New sources: what is accepted, and which fields of the message they replace."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.errors import Code, PayloadError
from pipeline.models import MAX_URL, Attachment, Fault, replacement_source
from pipeline.models.replacement_source import NewSource, parse_new_source, with_new_source

KEY = bytes(range(32))
OLD = Attachment(
    gateway="wppconnect",
    session="shop",
    message_id="m1",
    url="https://media.example/old",
    direct_path="/v/old?oe=65A0B0C0",
    media_key=base64.b64encode(KEY).decode(),
    file_sha256="ab" * 32,
    file_enc_sha256="cd" * 32,
    size=7,
    expires_at=5,
    caption="kept",
)


def parsed(**fields: Any) -> NewSource:
    source = parse_new_source(fields)
    assert source
    return source


@pytest.mark.parametrize("nothing", [None, {}])
def test_empty_source_is_none(nothing: Any) -> None:
    assert parse_new_source(nothing) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"url": "ftp://media.example/x"}, "url"),
        ({"url": "/x"}, "url"),
        ({"url": "https://["}, "url"),
        ({"url": "https://media.example/" + "x" * MAX_URL}, "url"),
        ({"url": 5}, "url"),
        ({"direct_path": "v/t62"}, "direct_path"),
        ({"direct_path": "//evil.example/x"}, "direct_path"),
        ({"media_key": "short"}, "media_key"),
        ({"media_key": ""}, "media_key"),
        ({"media_key": [1] * 31}, "media_key"),
        ({"media_key": 5}, "media_key"),
        ({"file_sha256": "ab"}, "file_sha256"),
        ({"file_enc_sha256": {"0": 1}}, "file_enc_sha256"),
        ({"size": -1}, "size"),
        ({"data": "!!!"}, "data"),
        ({"data": 5}, "data"),
    ],
)
def test_invalid_source_field_is_named_without_its_value(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_new_source(fields)
    assert caught.value.field == named
    assert str(fields[named])[:20] not in caught.value.message or not fields[named]


@pytest.mark.parametrize("fields", [[], "https://media.example/x", 0, {"direct_paht": "/v/new"}])
def test_object_without_source_fields_is_refused(fields: Any) -> None:
    with pytest.raises(PayloadError):
        parse_new_source(fields)


@pytest.mark.parametrize("key", [KEY.hex(), list(KEY), {str(at): byte for at, byte in enumerate(KEY)}])
def test_media_key_is_accepted_in_every_form(key: Any) -> None:
    assert parsed(media_key=key).media_key in {KEY.hex(), base64.b64encode(KEY).decode()}


def test_new_path_replaces_the_location_only() -> None:
    new = with_new_source(OLD, parsed(direct_path="/v/new?oe=6ABCDEF0"))
    assert (new.url, new.direct_path, new.expires_at) == (None, "/v/new?oe=6ABCDEF0", None)
    assert new.expiry == 0x6ABCDEF0
    kept = {"media_key", "file_sha256", "file_enc_sha256", "size", "caption", "message_id"}
    assert new.model_dump(include=kept) == OLD.model_dump(include=kept)
    assert new.id == OLD.id


def test_new_url_replaces_the_old_path() -> None:
    new = with_new_source(OLD, parsed(url="https://media.example/new"))
    assert (new.url, new.direct_path, new.media_key) == ("https://media.example/new", None, OLD.media_key)


def test_null_clears_key_hash_and_size() -> None:
    new = with_new_source(OLD, parsed(url="https://media.example/plain", media_key=None, file_sha256=None, size=None))
    assert (new.media_key, new.file_sha256, new.file_enc_sha256, new.size) == (None, None, None, None)


def test_new_key_clears_the_ciphertext_hash() -> None:
    key = base64.b64encode(bytes(32)).decode()
    assert with_new_source(OLD, parsed(media_key=key)).file_enc_sha256 is None
    assert with_new_source(OLD, parsed(media_key=key, file_enc_sha256="ef" * 32)).file_enc_sha256 == "ef" * 32
    assert with_new_source(OLD, parsed(media_key=OLD.media_key)).file_enc_sha256 == OLD.file_enc_sha256


def test_new_source_clears_the_fault() -> None:
    at_fault = OLD.model_copy(update={"remote_id": "77", "fault": Fault(code=Code.GATEWAY_ERROR, message="gone")})
    assert with_new_source(at_fault, parsed(media_key=None)).remote_id == "77"
    for source in (parsed(url="https://media.example/new"), parsed(media_key=None), parsed(data="aGVsbG8=")):
        assert with_new_source(at_fault, source).fault is None
    assert with_new_source(at_fault, parsed(url="https://media.example/new")).remote_id is None


def test_inline_bytes_are_not_kept() -> None:
    new = with_new_source(OLD, parsed(data="aGVsbG8="), intake=True)
    assert (new.data, new.url, new.direct_path) == (None, None, None)


def test_repr_of_a_new_source_hides_secrets() -> None:
    source = parsed(url="https://media.example/x?sig=s3cret", media_key=KEY.hex(), data="c2VjcmV0")
    for secret in ("s3cret", KEY.hex(), "c2VjcmV0"):
        assert secret not in repr(source)


@pytest.mark.parametrize("host", ["a" * 400, "\u0591\u05ae" * 8000])
def test_url_with_a_long_host_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(replacement_source, "urlsplit", lambda url: parsed.append(url) or urlsplit(url))
    with pytest.raises(PayloadError, match=r"url: must be an http:// or https:// URL"):
        parse_new_source({"url": f"https://{host}/a"})
    assert parsed == [""]


@pytest.mark.parametrize(
    "url", ["https://host", "http://host?x=" + "y" * 500, "HTTPS://host:8080/a/b", "https://host#f"]
)
def test_url_without_a_path_is_accepted(url: str) -> None:
    source = parse_new_source({"url": url})
    assert source is not None
    assert source.url == url
