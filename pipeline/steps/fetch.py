"""The first step: puts an attachment's file, complete and decrypted, into the staging directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, TooLargeError
from pipeline.gateways import source_of
from pipeline.gateways.sources import Source, allowed_hosts
from pipeline.http_client import Body, Deadline, DownloadLimits, HttpClient, Requester
from pipeline.metrics import NOT_DOWNLOADED_BYTES
from pipeline.models import Attachment, Fetched
from pipeline.security.whatsapp_media import OVERHEAD, Bytes, Decryptor, key_kind, media_keys
from pipeline.steps.other_source import Download, download_from_either
from pipeline.steps.recovery import recover
from pipeline.steps.reupload import GatewayFile
from pipeline.storage import Storage, content_key, intake_key
from pipeline.storage.staging import PartFile, Staging
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
    decryptor, key_error = _decryptor(attachment)
    download = _download(attachment, http_client=http_client, settings=settings)
    with staging.part(attachment.id) as out, download as (body, note):
        if decryptor:
            fetched = _decrypted(attachment, out, body, decryptor)
            _check_size(fetched.size, max_bytes)
        else:
            fetched = _write(out, body.views(), max_bytes)
        if key_error and fetched.sha256 != attachment.file_sha256:
            raise key_error
        return _check(attachment, fetched.model_copy(update={"note": note}) if note else fetched)


def fetch_from_gateway(
    attachment: Attachment,
    *,
    file: AbstractContextManager[GatewayFile],
    staging: Staging,
    stored: Storage | None,
    max_bytes: int,
) -> Fetched:
    """Gets the plaintext `file` from the attachment's gateway, because the source no longer has it. See `Reuploader`.

    With `stored`, that storage had the declared content a moment ago: the gateway is asked only if it is gone.

    Raises:
        PermanentError: `source_gone`, `too_large`.
        RetryableError: `staging`, and those of `Reuploader.file`.
    """
    if staged := _staged(attachment, staging):
        return staged
    if stored:
        copied = _copy_from_storage(attachment, staging=staging, storage=stored, max_bytes=max_bytes)
        if copied:
            return copied
    with staging.part(attachment.id) as out, file as gateway_file:
        fetched = _check(attachment, _write(out, gateway_file.pieces, max_bytes))
    return fetched.model_copy(update={"note": gateway_file.note})


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
    except PipelineError as error:
        if error.code in {Code.TOO_LARGE, Code.STAGING}:  # the same error would follow from a download
            raise
        return None
    NOT_DOWNLOADED_BYTES.add(n=copied.size)
    return copied.model_copy(update={"deduplicated": True})


def _decryptor(attachment: Attachment) -> tuple[Decryptor | None, PermanentError | None]:
    """The decryptor if there is a media key. If the key is malformed and a hash is declared, the error for later.

    Raises:
        PermanentError: `decrypt_key`, if there is no hash either that could prove the bytes.
    """
    if attachment.media_key is None:
        return None, None
    try:
        return Decryptor(media_keys(attachment.media_key, key_kind(attachment))), None
    except PermanentError as error:
        if attachment.file_sha256 is None:
            raise
        return None, error


def _download(
    attachment: Attachment, *, http_client: HttpClient, settings: Settings
) -> AbstractContextManager[Download]:
    deadline = download_deadline(settings, attachment)  # looking up the source counts too, and the second source
    source = source_of(attachment, http_client, settings)
    max_bytes = settings.max_bytes(attachment.kind) + (0 if attachment.media_key is None else OVERHEAD)

    def find_source(variant: Attachment) -> Source:
        return source_of(variant, http_client, settings)

    def request(source: Source) -> AbstractContextManager[Body]:
        return http_client.download(
            source.url,
            headers=source.headers,
            credentials=source.credentials,
            trusted_url=source.trusted_url,
            limits=DownloadLimits(deadline, max_bytes, allowed_hosts(attachment, source, settings)),
            requester=Requester(attachment.id, attachment.session),
        )

    return download_from_either(attachment, source, find_source=find_source, request=request)


def download_deadline(settings: Settings, attachment: Attachment) -> Deadline:
    """The deadline of a download that starts now.

    FETCH_DEADLINE_S, and one second more for each FETCH_MIN_BYTES_PER_S of the received file; at most as much as the
    largest file of the kind may take, and at most FETCH_MAX_S. With a media key and without a hash, the declared size
    is that of the file.
    """
    largest = settings.max_bytes(attachment.kind)
    hashed = attachment.file_sha256 is not None or attachment.file_enc_sha256 is not None
    if attachment.media_key and attachment.size is not None and not hashed:  # a hash may prove the size wrong
        largest = min(largest, attachment.size)
    longest_s = min(_allowance(settings, largest), settings.fetch_max_s)
    return Deadline(partial(_allowance, settings), at_most_s=longest_s)


def _allowance(settings: Settings, received: int) -> float:
    return settings.fetch_deadline_s + received / settings.fetch_min_bytes_per_s


def _write(out: PartFile, pieces: Iterator[Bytes], max_bytes: int) -> Fetched:
    digest = hashlib.sha256()
    size = 0
    for piece in pieces:
        size += len(piece)
        _check_size(size, max_bytes)
        digest.update(piece)
        out.write(piece)
    return Fetched(size=size, sha256=digest.hexdigest())


def _decrypted(attachment: Attachment, out: PartFile, body: Body, decryptor: Decryptor) -> Fetched:
    for piece in body.views():
        out.write(decryptor.update(piece))
    opened: Decryptor | None = decryptor
    try:
        out.write(decryptor.finish())
    except PermanentError as error:
        opened = recover(out, attachment, decryptor, error)
    if opened is None:  # the received bytes are the file
        return Fetched(size=decryptor.received, sha256=decryptor.file_enc_sha256)
    _check_encrypted(attachment, opened)
    return Fetched(size=opened.size, sha256=opened.file_sha256)


def _check_encrypted(attachment: Attachment, decryptor: Decryptor) -> None:
    if attachment.file_enc_sha256 not in {None, decryptor.file_enc_sha256}:
        raise PermanentError(Code.HASH_MISMATCH, "the encrypted file does not have the hash that the message declares")
    # A hash that holds outranks a wrong size, which some clients declare.
    is_hashed = attachment.file_enc_sha256 is not None or attachment.file_sha256 is not None
    if not is_hashed and attachment.size not in {None, decryptor.size}:
        raise PermanentError(Code.HASH_MISMATCH, "the file does not have the size that the message declares")


def _check(attachment: Attachment, fetched: Fetched) -> Fetched:
    if attachment.file_sha256 not in {None, fetched.sha256}:
        raise PermanentError(Code.HASH_MISMATCH, "the file does not have the hash that the message declares")
    if fetched.size == 0:
        raise PermanentError(Code.EMPTY, "the file is empty")
    return fetched


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLargeError(max_bytes)
