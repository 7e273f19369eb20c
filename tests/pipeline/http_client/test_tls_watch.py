"""Messages of TLS without content do not extend a deadline."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme

from pipeline.errors import Code, PipelineError
from pipeline.http_client import Deadline, DownloadLimits, HttpClient
from pipeline.http_client.tls_watch import TlsWatch
from tests.support.system import ROOT
from tests.support.tls import client_context

HELD_S = 15.0


def test_tickets_without_end_do_not_hold_a_download(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "server.pem"
    authority.issue_cert("media.example").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    client = HttpClient(
        allow_private=[ipaddress.ip_network("127.0.0.1/32")],
        tls=client_context(authority),
        resolver=lambda _host, _port: ["127.0.0.1"],
    )
    errors: list[PipelineError] = []

    def download(port: int) -> None:
        limits = DownloadLimits(Deadline(1.0), 1000)
        try:
            with client.download(f"https://media.example:{port}/file", limits=limits) as body:
                list(body.chunks())
        except PipelineError as error:
            errors.append(error)

    command = [sys.executable, "-m", "tests.support.tls_flood", str(certificate), str(tmp_path / "keys")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout
        thread = threading.Thread(target=download, args=(int(server.stdout.readline()),), daemon=True)
        began = time.monotonic()
        thread.start()
        thread.join(HELD_S)
        held_s = time.monotonic() - began
        server.kill()
    thread.join(5)
    client.close()
    assert held_s < HELD_S
    assert [error.code for error in errors] == [Code.FETCH_TIMEOUT]


def test_sockets_without_tls_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = TlsWatch()
    monkeypatch.setattr(watch, "_start", lambda: pytest.fail("a thread was started"))
    with socket.socket() as plain, watch.limit(plain, 0):
        pass
