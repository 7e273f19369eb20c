"""The first step: puts an attachment's file, complete and decrypted, into the staging directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.gateways import source_of
from pipeline.gateways.sources import allowed_hosts
from pipeline.http_client import Body, Deadline, DownloadLimits, HttpClient, Requester
from pipeline.metrics import NOT_DOWNLOADED_BYTES
from pipeline.models import Attachment, Fetched
from pipeline.security.whatsapp_media import OVERHEAD, Bytes, Decryptor, key_kind, media_keys
from pipeline.storage import Storage, content_key, intake_key
from pipeline.storage.staging import Part, Staging
from pipeline.values.base64_stream import decode_base64

PIECE = 256 * 1024


def fetch(
    attachment: Attachment,
    *,
    intake: bool,
    staging: Staging,
    http_client: HttpClient,
    storage: Storage,
    settings: Settings,
    content_in_storage: bool = False,
) -> Fetched:
    """Gets the file from the intake storage if `intake` is set, else from the attachment's own data or its URL.

    A downloaded file is decrypted if there is a media key. A file that is already staged is only hashed again.
    With `content_in_storage`, storage had the declared content a moment ago: it is copied from there if it still is.

    Raises:
        PermanentError: the attachment's own fault, `no_source`, `empty`, `too_large`, `hash_mismatch`, `decrypt_*`, and
            those of `HttpClient.download`.
        RetryableError: `fetch_*`, `storage` or `staging`.
    """
    if attachment.fault:
        raise PermanentError(attachment.fault.code, attachment.fault.message)
    if staged := _staged(attachment, staging):
        return staged
    max_bytes = settings.max_bytes(attachment.kind)
    if intake or attachment.data:
        pieces = storage.chunks(intake_key(attachment.id)) if intake else decode_base64(attachment.data or "")
        with staging.part(attachment.id) as out:
            return _check(attachment, _write(out, pieces, max_bytes))
    if content_in_storage:
        copied = _copy_from_storage(attachment, staging=staging, storage=storage, max_bytes=max_bytes)
        if copied:
            return copied
    decryptor = _decryptor(attachment)
    with staging.part(attachment.id) as out, _download(attachment, http_client=http_client, settings=settings) as body:
        if decryptor:
            return _check(attachment, _decrypt(out, body.views(), decryptor, max_bytes), decryptor)
        return _check(attachment, _write(out, body.views(), max_bytes))


def _staged(attachment: Attachment, staging: Staging) -> Fetched | None:
    if not staging.exists(attachment.id):
        return None
    try:
        with open(staging.file_path(attachment.id), "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return _check(attachment, Fetched(size=file.tell(), sha256=digest.hexdigest()))
    except PermanentError:  # after a power failure, the file may exist without its content
        staging.discard(attachment.id)
        return None
    except FileNotFoundError:  # another worker has just finished this attachment
        return None
    except OSError as error:
        raise RetryableError(Code.STAGING, f"cannot read the staged file: {error.strerror}") from error


def _copy_from_storage(attachment: Attachment, *, staging: Staging, storage: Storage, max_bytes: int) -> Fetched | None:
    """Copies the declared content from storage; None if it is gone or storage is unavailable."""
    assert attachment.file_sha256
    try:
        with staging.part(attachment.id) as out:
            chunks = storage.chunks(content_key(attachment.file_sha256))
            copied = _check(attachment, _write(out, chunks, max_bytes))
            _check_declared_size(attachment, copied)
    except PipelineError as error:
        if error.code in {Code.TOO_LARGE, Code.STAGING}:  # the same error would follow from a download
            raise
        return None
    NOT_DOWNLOADED_BYTES.add(n=copied.size)
    return copied.model_copy(update={"deduplicated": True})


def _decryptor(attachment: Attachment) -> Decryptor | None:
    if attachment.media_key is None:
        return None
    return Decryptor(media_keys(attachment.media_key, key_kind(attachment)))


def _download(attachment: Attachment, *, http_client: HttpClient, settings: Settings) -> AbstractContextManager[Body]:
    deadline = download_deadline(settings, attachment)  # looking up the source counts too
    source = source_of(attachment, http_client, settings)
    max_bytes = settings.max_bytes(attachment.kind) + (0 if attachment.media_key is None else OVERHEAD)
    return http_client.download(
        source.url,
        headers=source.headers,
        credentials=source.credentials,
        trusted_url=source.trusted_url,
        limits=DownloadLimits(deadline, max_bytes, allowed_hosts(attachment, source, settings)),
        requester=Requester(attachment.id, attachment.session),
    )


def download_deadline(settings: Settings, attachment: Attachment) -> Deadline:
    """The deadline of a download that starts now.

    FETCH_DEADLINE_S, and one second more for each FETCH_MIN_BYTES_PER_S of the received file; at most as much as the
    largest file of the kind may take, and at most FETCH_MAX_S. With a media key, the declared size is that of the file.
    """
    largest = settings.max_bytes(attachment.kind)
    if attachment.media_key and attachment.size is not None:
        largest = min(largest, attachment.size)
    longest_s = min(_allowance(settings, largest), settings.fetch_max_s)
    return Deadline(partial(_allowance, settings), at_most_s=longest_s)


def _allowance(settings: Settings, received: int) -> float:
    return settings.fetch_deadline_s + received / settings.fetch_min_bytes_per_s


def _write(out: Part, pieces: Iterator[Bytes], max_bytes: int) -> Fetched:
    digest = hashlib.sha256()
    size = 0
    for piece in pieces:
        size += len(piece)
        _check_size(size, max_bytes)
        digest.update(piece)
        out.write(piece)
    return Fetched(size=size, sha256=digest.hexdigest())


def _decrypt(out: Part, pieces: Iterator[Bytes], decryptor: Decryptor, max_bytes: int) -> Fetched:
    for piece in pieces:
        out.write(decryptor.update(piece))
    out.write(decryptor.finish())
    _check_size(decryptor.size, max_bytes)
    return Fetched(size=decryptor.size, sha256=decryptor.file_sha256)


def _check(attachment: Attachment, fetched: Fetched, decryptor: Decryptor | None = None) -> Fetched:
    if decryptor and attachment.file_enc_sha256 not in {None, decryptor.file_enc_sha256}:
        raise PermanentError(Code.HASH_MISMATCH, "the encrypted file does not have the hash that the message declares")
    if decryptor:
        _check_declared_size(attachment, fetched)
    if attachment.file_sha256 not in {None, fetched.sha256}:
        raise PermanentError(Code.HASH_MISMATCH, "the file does not have the hash that the message declares")
    if fetched.size == 0:
        raise PermanentError(Code.EMPTY, "the file is empty")
    return fetched


def _check_declared_size(attachment: Attachment, fetched: Fetched) -> None:
    # Without a media key, senders often declare a wrong size.
    if attachment.media_key and attachment.size not in {None, fetched.size}:
        raise PermanentError(Code.HASH_MISMATCH, "the file does not have the size that the message declares")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PermanentError(Code.TOO_LARGE, f"the file is larger than {max_bytes} bytes")
