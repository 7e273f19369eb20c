"""The payload samples of tests/payloads, their files, and random mutations of them."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pipeline.models import Attachment
from pipeline.security.whatsapp_media import Decryptor, key_kind, media_keys
from pipeline.values.base64_stream import decode_base64
from pipeline.values.gateway_values import decode_bytes
from tests.support.whatsapp_media import encrypt

PAYLOADS = Path(__file__).parents[1] / "payloads"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def names(gateway: str) -> list[str]:
    """The names of a gateway's samples."""
    return sorted(path.stem for path in (PAYLOADS / gateway).glob("*.json"))


def payload(gateway: str, name: str) -> Any:
    """One sample, as its gateway's hook gets it."""
    return json.loads((PAYLOADS / gateway / f"{name}.json").read_bytes())


def media_file(name: str) -> bytes:
    """A file that the samples refer to."""
    return (PAYLOADS / "files" / name).read_bytes()


@functools.cache
def _files() -> dict[str, bytes]:
    contents = [path.read_bytes() for path in (PAYLOADS / "files").iterdir()]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def held_by_whatsapp(attachment: Attachment) -> bytes:
    """The encrypted file at the direct path of a sample's attachment, made from its hash and key."""
    plain = _files()[attachment.file_sha256 or ""]
    return encrypt(plain, kind=key_kind(attachment), key=decode_bytes(attachment.media_key) or b"").data


def content_of(attachment: Attachment) -> bytes:
    """The file of a sample's attachment: its own data, or the decrypted file at its direct path."""
    if attachment.data:
        return b"".join(decode_base64(attachment.data))
    assert attachment.direct_path
    decryptor = Decryptor(media_keys(attachment.media_key or "", key_kind(attachment)))
    plain = bytes(decryptor.update(held_by_whatsapp(attachment))) + decryptor.finish()
    assert (decryptor.file_sha256, decryptor.size) == (attachment.file_sha256, attachment.size)
    assert decryptor.file_enc_sha256 == attachment.file_enc_sha256
    return plain


@st.composite
def mutations(draw: st.DrawFn, gateway: str) -> Any:
    """A sample with a few values removed or replaced."""
    mutated = copy.deepcopy(payload(gateway, draw(st.sampled_from(names(gateway)))))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(mutated))
        if not places:
            break
        box, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            box[key] = draw(JSON | st.sampled_from([-1, 2**70, "1e400", "\ud800", "x" * 600, {"low": 1, "high": -1}]))
        else:
            del box[key]
    return mutated


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys[:8] if "0" in keys else keys:  # of bytes as numbers a few tell as much as all
        yield value, key
        yield from _places(value[key])
