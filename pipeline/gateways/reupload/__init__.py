"""Asks a gateway's own server for a file that the source no longer has: a module for each gateway that can be asked.

A new gateway is a module with the three functions of `Reupload` and a line in REUPLOADS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.config.settings import Settings
from pipeline.gateways.reupload import evolution, gowa, waha, wppconnect
from pipeline.gateways.reupload.file_request import FileRequest
from pipeline.gateways.reupload.server import GatewayServer, Probe
from pipeline.models import Attachment

__all__ = ["REUPLOADS", "FileRequest", "GatewayServer", "Probe", "Reupload"]


class Reupload(Protocol):
    """The functions of a gateway's module."""

    def server(self, session: str, settings: Settings, /) -> GatewayServer | None:
        """The server to ask for a file of this session; None if the settings do not name it or have no key for it."""

    def file(self, attachment: Attachment, request: FileRequest, /) -> AbstractContextManager[Iterator[bytes]]:
        """The plaintext of the attachment's file in pieces, for a `with` block.

        Raises:
            PermanentError: the gateway does not have the file either, or it is too large (`too_large`).
            RetryableError: another attempt may succeed.
        """

    def probes(self, settings: Settings, /) -> Sequence[Probe]:
        """Harmless requests that show whether the server answers and accepts the key; none if it is not configured."""


REUPLOADS: Mapping[str, Reupload] = {
    "wppconnect": wppconnect,
    "evolution": evolution,
    "waha": waha,
    "gowa": gowa,
}
