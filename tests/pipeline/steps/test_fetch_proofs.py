"""Declared hashes and MACs outrank every other claim about a file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PermanentError
from pipeline.models import Attachment, Fetched, Kind
from pipeline.security.whatsapp_media import Decryptor, keys_that_verify, media_keys, other_keys
from pipeline.steps.fetch import fetch
from pipeline.storage import LocalStorage
from pipeline.storage.staging import Staging
from tests.support.checking import settings
from tests.support.http_client import local_http_client
from tests.support.media_server import MediaServer
from tests.support.whatsapp_media import INFO, KEY, encrypt

PLAIN = b"\x89PNG not really" * 50_000
WRONG = "0" * 64
KINDS = [Kind.IMAGE, Kind.VIDEO, Kind.AUDIO, Kind.PTT, Kind.DOCUMENT, Kind.STICKER]


class Fetcher:
    """Fetches files of a media server into a directory of its own."""

    def __init__(self, folder: Path, server: MediaServer) -> None:
        self.staging = Staging(folder / "staging")
        self.server = server
        self._storage = LocalStorage(folder / "media")
        self._settings = settings(fetch_allow_private="127.0.0.0/8")

    def fetch(self, content: bytes, **fields: Any) -> Fetched:
        self.server.files["file"] = content
        attachment = Attachment(session="s", message_id="m", url=self.server.url("file"), **fields)
        fetched = fetch(
            attachment,
            intake=False,
            staging=self.staging,
            http_client=local_http_client(),
            storage=self._storage,
            settings=self._settings,
        )
        assert [path.name for path in self.staging.folder.iterdir()] == [attachment.id]
        staged = self.staging.path(attachment.id).read_bytes()
        assert fetched == Fetched(size=len(staged), sha256=hashlib.sha256(staged).hexdigest())
        return fetched

    def error_code(self, content: bytes, **fields: Any) -> Code:
        with pytest.raises(PermanentError) as caught:
            self.fetch(content, **fields)
        assert not self.staging.folder.exists() or list(self.staging.folder.iterdir()) == []
        return caught.value.code


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    with MediaServer({}) as server:
        yield Fetcher(tmp_path, server)


@pytest.mark.parametrize("size", [1, len(PLAIN) - 1, len(PLAIN) + 1, 2**50, 0, None])
@pytest.mark.parametrize("hashes", [{"file_enc_sha256": None}, {"file_sha256": None}, {}])
def test_wrong_size_is_accepted_where_a_hash_holds(size: int | None, hashes: dict[str, None], fetcher: Fetcher) -> None:
    """WA-09."""
    encrypted = encrypt(PLAIN)
    fetched = fetcher.fetch(encrypted.data, kind="image", **{**encrypted.fields(), "size": size, **hashes})
    assert fetched.sha256 == encrypted.file_sha256


@pytest.mark.parametrize("length", [1, 9, 10, 25, 26, 27, 41, 42, 43, 58, 256 * 1024, 256 * 1024 + 26, 700_001])
def test_plain_bytes_with_the_declared_hash_are_accepted_beside_a_key(length: int, fetcher: Fetcher) -> None:
    """WA-10."""
    content = (PLAIN * 2)[:length]
    declared = {**encrypt(content).fields(), "file_enc_sha256": WRONG, "size": 1}
    fetched = fetcher.fetch(content, kind="image", **declared)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert fetched.size == length


@pytest.mark.parametrize("key", ["", {}, [], {"type": "Buffer", "data": []}, None, 0])
def test_plain_bytes_are_fetched_beside_an_empty_key(key: Any, fetcher: Fetcher) -> None:
    """WA-11."""
    digest = hashlib.sha256(PLAIN).hexdigest()
    assert fetcher.fetch(PLAIN, media_key=key, file_sha256=digest, size={"low": 7, "high": 0}).sha256 == digest
    fetcher.staging.discard(Attachment(session="s", message_id="m").id)
    assert fetcher.error_code(PLAIN, media_key=key, file_sha256=WRONG) == Code.HASH_MISMATCH


@pytest.mark.parametrize("key", ["AAAA", "no-key", "ff" * 31])
def test_plain_bytes_with_the_declared_hash_are_accepted_beside_a_malformed_key(key: str, fetcher: Fetcher) -> None:
    digest = hashlib.sha256(PLAIN).hexdigest()
    assert fetcher.fetch(PLAIN, media_key=key, file_sha256=digest).sha256 == digest


@pytest.mark.parametrize(
    ("key", "code"),
    [("AAAA", Code.DECRYPT_KEY), (encrypt(b"").media_key, Code.DECRYPT_MAC)],
    ids=["malformed", "valid"],
)
def test_plain_bytes_with_another_hash_are_refused_beside_a_key(key: str, code: Code, fetcher: Fetcher) -> None:
    content = PLAIN[: 16 * 100 + 10]
    assert fetcher.error_code(content, media_key=key, file_sha256=WRONG) == code
    if code is Code.DECRYPT_MAC:
        assert fetcher.error_code(content, media_key=key) == code
        assert fetcher.error_code(content[:-1], media_key=key, file_sha256=WRONG) == Code.DECRYPT_FORMAT


@pytest.mark.parametrize(("encrypted_as", "declared"), list(itertools.product(KINDS, KINDS)))
def test_file_under_the_label_of_another_kind_is_opened(encrypted_as: Kind, declared: Kind, fetcher: Fetcher) -> None:
    """WA-12: also without a hash, because the MAC proves keys and bytes."""
    encrypted = encrypt(PLAIN, kind=encrypted_as)
    fetched = fetcher.fetch(encrypted.data, kind=declared, media_key=encrypted.media_key)
    assert fetched.sha256 == encrypted.file_sha256
    assert len(fetcher.server.requests) == 1


@pytest.mark.parametrize("change", [{"file_sha256": WRONG}, {"file_enc_sha256": WRONG}])
def test_wrong_hash_is_refused_under_every_label(change: dict[str, str], fetcher: Fetcher) -> None:
    for kind in ("audio", "document"):
        encrypted = encrypt(PLAIN, kind=kind)
        code = fetcher.error_code(encrypted.data, kind="audio", **{**encrypted.fields(), **change})
        assert code in ({Code.HASH_MISMATCH} if kind == "audio" or "file_sha256" in change else {Code.DECRYPT_MAC})


@pytest.mark.parametrize("offset", [0, 500, -11, -1])
def test_changed_ciphertext_fails_under_all_labels(offset: int, fetcher: Fetcher) -> None:
    for kind in INFO:
        changed = bytearray(encrypt(PLAIN, kind=kind).data)
        changed[offset] ^= 1
        assert fetcher.error_code(bytes(changed), kind="image", media_key=encrypt(b"").media_key) == Code.DECRYPT_MAC


def test_wrong_padding_under_another_label_is_refused(fetcher: Fetcher) -> None:
    broken = encrypt(b"", kind="document", padded=bytes(32))
    assert fetcher.error_code(broken.data, kind="image", media_key=broken.media_key) == Code.DECRYPT_FORMAT


def test_plain_file_beside_a_key_obeys_the_size_limit(fetcher: Fetcher) -> None:
    fetcher._settings = settings(fetch_allow_private="127.0.0.0/8", max_image_mb=0.1)
    limit = 100_000
    for length, code in ((limit, None), (limit + 1, Code.TOO_LARGE)):
        content = PLAIN[:length]
        fields = {**encrypt(content).fields(), "file_enc_sha256": None, "kind": "image"}
        assert (fetcher.error_code(content, **fields) if code else fetcher.fetch(content, **fields).size) == (
            code or length
        )
        fetcher.staging.discard(Attachment(session="s", message_id="m").id)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_received_bytes_are_made_again_from_the_plaintext(data: bytes, cuts: list[int]) -> None:
    decryptor = Decryptor(media_keys(KEY.hex(), Kind.IMAGE))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    written = [bytes(decryptor.update(data[start:end])) for start, end in itertools.pairwise(edges)]
    assert b"".join(decryptor.received_again(written)) == data
    assert decryptor.file_enc_sha256 == hashlib.sha256(data).hexdigest()


@given(st.integers(0, 200), st.integers(1, 50))
def test_keys_that_verify_do_not_depend_on_fragmentation(size: int, step: int) -> None:
    data = encrypt(bytes(size), kind="document").data
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    candidates = other_keys(KEY.hex(), Kind.IMAGE)
    assert len(candidates) == 4
    assert keys_that_verify(candidates, pieces) == media_keys(KEY.hex(), Kind.DOCUMENT)
    assert keys_that_verify(candidates, [b"", data[1:]]) is None
