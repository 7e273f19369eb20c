"""Asks an attachment's gateway for the file that its source no longer has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pipeline.config.settings import Settings
from pipeline.errors import BusyError, Code, PermanentError, RetryableError, ReuploadError
from pipeline.gateways.reupload import REUPLOADS, FileRequest, GatewayServer
from pipeline.gateways.reupload.pace import check_turn
from pipeline.http_client import HttpClient
from pipeline.metrics import REUPLOADS_ASKED
from pipeline.models import Attachment, GoneSource


class GatewayFile(NamedTuple):
    """A file that a gateway gives out: its plaintext in pieces, and a note for the history."""

    pieces: Iterator[bytes]
    note: str


class Reuploader:
    """Asks the gateways' servers for files. `http_client` has its own limits of concurrency, silence and rate."""

    def __init__(self, settings: Settings, http_client: HttpClient) -> None:
        self._settings = settings
        self._http_client = http_client

    def can_ask(self, attachment: Attachment) -> bool:
        """Whether the settings name the server of the attachment's gateway and want it to be asked."""
        return self._settings.reupload == "gateway" and self._server(attachment) is not None

    @contextmanager
    def file(self, attachment: Attachment, gone: GoneSource, *, max_bytes: int) -> Iterator[GatewayFile]:
        """The plaintext of the file. An error inside the block that refuses the file is the gateway's too.

        Raises:
            PermanentError: `source_gone`, with the source's answer and the gateway's; `too_large`.
            ReuploadError: another attempt may succeed.
            PacedError: `fetch_busy`, until it is this attachment's turn.
            BusyError: `fetch_busy`, if REUPLOAD_CONCURRENCY requests to this server are in progress.
        """
        server = self._server(attachment)
        if server is None:  # the settings have changed since the source was found gone
            raise PermanentError(Code.SOURCE_GONE, gone.message)
        check_turn(self._http_client.rate_limiter, attachment, server)
        request = FileRequest(server, http_client=self._http_client, settings=self._settings, max_bytes=max_bytes)
        with (
            _with_both_answers(attachment.gateway, server, gone),
            REUPLOADS[attachment.gateway].file(attachment, request) as pieces,
        ):
            yield GatewayFile(pieces, f"{gone.message}; {server.name} has the file")

    def _server(self, attachment: Attachment) -> GatewayServer | None:
        reupload = REUPLOADS.get(attachment.gateway)
        return reupload.server(attachment.session, self._settings) if reupload else None


@contextmanager
def _with_both_answers(gateway: str, server: GatewayServer, gone: GoneSource) -> Iterator[None]:
    """Adds the source's answer to errors, and counts the request's outcome."""
    try:
        yield
    except BusyError:
        raise
    except RetryableError as error:
        if error.code == Code.STAGING:  # this machine's disk, not the gateway
            raise
        REUPLOADS_ASKED.add(gateway, "failed")
        message = _joined(gone, server, error.message)
        raise ReuploadError(error.code, message, retry_after=error.retry_after) from error
    except PermanentError as error:
        REUPLOADS_ASKED.add(gateway, "refused")
        if error.code == Code.TOO_LARGE:  # as with any other source: the message names the limit
            raise
        raise PermanentError(Code.SOURCE_GONE, _joined(gone, server, error.message)) from error
    REUPLOADS_ASKED.add(gateway, "ok")


def _joined(gone: GoneSource, server: GatewayServer, message: str) -> str:
    named = message if server.name in message else f"{server.name} was asked: {message}"
    return f"{gone.message}; {named}"
