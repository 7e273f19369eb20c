"""Media keys, media URLs and decryption."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PermanentError
from pipeline.models import Attachment, Kind
from pipeline.security.whatsapp_media import Decryptor, key_kind, media_keys, media_url
from tests.support.whatsapp_media import KEY, encrypt, pad

HOSTS = ("mmg.whatsapp.net", "other.example")
BASE64_KEY = base64.b64encode(KEY).decode()


def attachment(**fields: Any) -> Attachment:
    return Attachment(session="s", message_id="m", **fields)


def decrypt(data: bytes, *, kind: Kind = Kind.IMAGE, cuts: list[int] | None = None) -> bytes:
    """The plaintext of data that arrives in pieces, divided at the offsets `cuts`."""
    decryptor = Decryptor(media_keys(BASE64_KEY, kind))
    offsets = [0, *sorted(cuts or []), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(offsets)]
    return b"".join(bytes(decryptor.update(piece)) for piece in pieces) + decryptor.finish()


def code_of(data: bytes, **options: Any) -> Code:
    with pytest.raises(PermanentError) as error:
        decrypt(data, **options)
    return error.value.code


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_is_decrypted_with_its_own_keys(kind: Kind) -> None:
    assert decrypt(encrypt(b"media", kind=kind.value).data, kind=kind) == b"media"


@given(st.binary(max_size=400), st.lists(st.integers(0, 426), max_size=12))
def test_plaintext_does_not_depend_on_fragmentation(plain: bytes, cuts: list[int]) -> None:
    data = encrypt(plain).data
    assert decrypt(data, cuts=[cut for cut in cuts if cut <= len(data)]) == plain


@given(st.integers(0, 10**6), st.integers(1, 255), st.binary(min_size=1, max_size=200))
def test_any_changed_byte_fails_the_mac(offset: int, change: int, plain: bytes) -> None:
    """WA-01."""
    data = bytearray(encrypt(plain).data)
    data[offset % len(data)] ^= change
    assert code_of(bytes(data)) == Code.DECRYPT_MAC


@pytest.mark.parametrize("offset", [pytest.param(-1, id="WA-01-mac"), pytest.param(0, id="WA-01-ciphertext")])
def test_one_changed_bit_fails_the_mac(offset: int) -> None:
    data = bytearray(encrypt(b"media" * 100_000).data)
    data[offset] ^= 1
    assert code_of(bytes(data)) == Code.DECRYPT_MAC


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(base64.b64encode(bytes(31)).decode(), id="WA-02-31-bytes"),
        pytest.param(base64.b64encode(bytes(33)).decode(), id="WA-02-33-bytes"),
        pytest.param("not base64!", id="WA-02-no-base64"),
        pytest.param("zz" * 32, id="WA-02-no-hex"),
        pytest.param("ab" * 31, id="WA-02-hex-of-31-bytes"),
        pytest.param("ab" * 33, id="WA-02-hex-of-33-bytes"),
        pytest.param("é" * 44, id="WA-02-not-ascii"),
        pytest.param([300] * 32, id="WA-02-array-of-no-bytes"),
        pytest.param(list(range(31)), id="WA-02-array-of-31"),
        pytest.param({"0": 1, "2": 3}, id="WA-02-object-with-a-gap"),
        pytest.param({"a": 1}, id="WA-02-object-of-something-else"),
    ],
)
def test_malformed_media_key_is_refused(key: Any) -> None:
    text = attachment(url="https://x.example/", media_key=key).media_key
    assert text is not None
    with pytest.raises(PermanentError) as error:
        media_keys(text, Kind.IMAGE)
    assert error.value.code == Code.DECRYPT_KEY
    assert not text or text not in error.value.message


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(BASE64_KEY, id="WA-02-base64"),
        pytest.param(BASE64_KEY.rstrip("="), id="WA-02-base64-unpadded"),
        pytest.param(base64.urlsafe_b64encode(KEY).decode(), id="WA-02-base64-url-safe"),
        pytest.param(KEY.hex(), id="WA-02-hex"),
        pytest.param(list(KEY), id="WA-02-array"),
        pytest.param({str(index): byte for index, byte in enumerate(KEY)}, id="WA-02-object"),
        pytest.param({"type": "Buffer", "data": list(KEY)}, id="WA-02-buffer"),
    ],
)
def test_media_key_is_read_in_every_encoding_of_gateways(key: Any) -> None:
    sent = json.loads(json.dumps({"media_key": key}))
    text = attachment(url="https://x.example/", **sent).media_key
    assert text is not None
    assert media_keys(text, Kind.IMAGE) == media_keys(BASE64_KEY, Kind.IMAGE)


def test_repr_of_media_keys_is_empty() -> None:
    keys = media_keys(BASE64_KEY, Kind.IMAGE)
    assert repr(keys) == "MediaKeys()"


@pytest.mark.parametrize(
    ("encrypted_as", "read_as"),
    [pytest.param("video", Kind.IMAGE, id="WA-03-video"), pytest.param("image", Kind.DOCUMENT, id="WA-03-image")],
)
def test_keys_of_another_kind_fail_the_mac(encrypted_as: str, read_as: Kind) -> None:
    assert code_of(encrypt(b"media", kind=encrypted_as).data, kind=read_as) == Code.DECRYPT_MAC


@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(encrypt(b"media").data[:size], id=f"WA-04-{size}-bytes") for size in (0, 1, 9, 10, 16, 25)),
        pytest.param(encrypt(b"media").data + b"x", id="WA-04-27-bytes"),
        pytest.param(encrypt(b"media" * 99).data[:-3], id="WA-04-cut"),
        pytest.param(encrypt(b"", padded=b"").data, id="WA-04-only-a-mac"),
    ],
)
def test_ciphertext_of_invalid_length_is_refused(data: bytes) -> None:
    assert code_of(data) == Code.DECRYPT_FORMAT


@pytest.mark.parametrize(
    "padded",
    [
        pytest.param(bytes(16), id="WA-05-zero"),
        pytest.param(b"x" * 15 + b"\x11", id="WA-05-17"),
        pytest.param(b"x" * 12 + b"\x04\x03\x04\x04", id="WA-05-uneven"),
        pytest.param(b"x" * 32, id="WA-05-none"),
    ],
)
def test_invalid_padding_has_the_same_message_as_an_invalid_mac(padded: bytes) -> None:
    data = encrypt(b"", padded=padded).data
    with pytest.raises(PermanentError) as padding:
        decrypt(data)
    with pytest.raises(PermanentError) as mac:
        decrypt(data[:-1] + bytes([data[-1] ^ 1]))
    assert (padding.value.code, mac.value.code) == (Code.DECRYPT_FORMAT, Code.DECRYPT_MAC)
    assert padding.value.message == mac.value.message


@pytest.mark.parametrize("size", [pytest.param(size, id=f"WA-06-{size}") for size in (16, 32, 262_144, 1_048_576)])
def test_plaintext_of_whole_blocks_is_decrypted(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) if size >= 256 else b"x" * size
    data = encrypt(plain).data
    assert len(data) == size + 26
    assert len(pad(plain)) == size + 16
    assert decrypt(data, cuts=list(range(0, size, 65_536))) == plain


def test_decryptor_has_hashes_and_size_of_the_file() -> None:
    encrypted = encrypt(b"media" * 1000)
    decryptor = Decryptor(media_keys(encrypted.media_key, Kind.IMAGE))
    decryptor.update(encrypted.data)
    decryptor.finish()
    assert (decryptor.file_enc_sha256, decryptor.file_sha256, decryptor.size) == (
        encrypted.file_enc_sha256,
        encrypted.file_sha256,
        encrypted.size,
    )


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ({"kind": "sticker", "mimetype": "video/mp4"}, Kind.STICKER),
        ({"mimetype": "video/mp4"}, Kind.VIDEO),
        ({"mimetype": "audio/ogg; codecs=opus"}, Kind.AUDIO),
        ({"mimetype": "image/webp"}, Kind.IMAGE),
        ({"mimetype": "application/pdf"}, Kind.DOCUMENT),
        ({}, Kind.DOCUMENT),
    ],
)
def test_key_kind_follows_the_declared_kind_or_type(declared: dict[str, str], kind: Kind) -> None:
    assert key_kind(attachment(**declared)) == kind


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/../secret", id="WA-08-dots"),
        pytest.param("/v/t62/../../secret", id="WA-08-dots-within"),
        pytest.param("/v/..", id="WA-08-dots-at-the-end"),
        pytest.param("/v/%2e%2E/secret", id="WA-08-dots-encoded"),
        pytest.param("/v%2f..%2fsecret", id="WA-08-slashes-encoded"),
        pytest.param("https://evil.example/", id="WA-08-absolute"),
        pytest.param("//evil.example/", id="WA-08-other-host"),
        pytest.param("@evil.example/", id="WA-08-userinfo"),
        pytest.param(".evil.example/", id="WA-08-longer-host"),
        pytest.param(":99/", id="WA-08-port"),
        pytest.param("/\\evil.example/", id="WA-08-backslash"),
        pytest.param("/v/x\r\nHost: evil.example", id="WA-08-CRLF"),
        pytest.param("/v/x y", id="WA-08-space"),
        pytest.param("/v/x#y", id="WA-08-fragment"),
        pytest.param("/v/ü", id="WA-08-not-ascii"),
        pytest.param("v/x", id="WA-08-no-slash"),
    ],
)
def test_malformed_direct_path_is_refused(path: str) -> None:
    with pytest.raises(PermanentError) as error:
        media_url(attachment(direct_path=path, url="https://mmg.whatsapp.net/v/good"), HOSTS)
    assert error.value.code == Code.URL_BLOCKED


def test_direct_path_is_preferred_to_the_url() -> None:
    path = "/v/t62.7118-24/1234_n.enc?ccb=11-4&oh=01_AdQ&oe=65F1&_nc_sid=5e03e0&mms3=true"
    both = attachment(direct_path=path, url="https://web.whatsapp.net/")
    assert media_url(both, HOSTS) == f"https://mmg.whatsapp.net{path}"
    assert media_url(attachment(url="https://x.example/a"), HOSTS) == "https://x.example/a"


@pytest.mark.parametrize("url", ["https://web.whatsapp.net", "https://web.whatsapp.net/", None])
def test_url_without_media_is_none(url: str | None) -> None:
    assert media_url(attachment(url=url), HOSTS) is None
