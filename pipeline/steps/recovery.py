"""Finds the file in a download that the keys of its declared kind do not open. A proof outranks a claim."""

from __future__ import annotations

from pipeline.errors import Code, PermanentError
from pipeline.models import Attachment
from pipeline.security.whatsapp_media import Decryptor, key_kind, keys_that_verify, other_keys
from pipeline.storage.staging import PartFile


def recover(out: PartFile, attachment: Attachment, decryptor: Decryptor, error: PermanentError) -> Decryptor | None:
    """Rewrites `out`, which has what the decryptor returned before it raised `error`.

    The received bytes are the file if they have the declared hash: channels and some gateways do not encrypt. Then the
    result is None. Else the keys of the other labels are tried; the result is the decryptor that has opened the file.

    Raises:
        PermanentError: `error`, if neither is the case; `decrypt_format`, if the padding is wrong.
    """
    if decryptor.file_enc_sha256 == attachment.file_sha256:
        for piece in decryptor.received_again(out.again()):
            out.write(piece)
        return None
    other = _other_decryptor(out, attachment, decryptor) if error.code is Code.DECRYPT_MAC else None
    if other is None:
        raise error
    for piece in decryptor.received_again(out.again()):
        out.write(other.update(piece))
    out.write(other.finish())
    return other


def _other_decryptor(out: PartFile, attachment: Attachment, decryptor: Decryptor) -> Decryptor | None:
    if attachment.media_key is None or attachment.file_enc_sha256 not in {None, decryptor.file_enc_sha256}:
        return None  # other bytes than announced: no keys make them right
    candidates = other_keys(attachment.media_key, key_kind(attachment))
    keys = keys_that_verify(candidates, decryptor.received_again(out.again()))
    return Decryptor(keys) if keys else None
