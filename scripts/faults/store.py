"""Object storage on loopback: an S3 server behind a proxy that fails, delays or falsifies requests on demand."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.faults.http_server import QuietHandler, QuietServer
from scripts.faults.leftovers import StoredFiles, is_preview
from tests.support.s3 import BUCKET, S3Server

SLOW_S = 3.0
OWN_HEADERS = {
    "connection",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
}  # headers that belong to one connection and are not forwarded


class StoreProxy(QuietServer):
    """The proxy. It applies `disturbance` to a `share` of the requests, and refuses requests not signed with `key_id`.

    Disturbances: none; failing (503); refusing (403); reset (connections); slow; discarding (a PUT is answered 200 and
    nothing is stored); truncating (only half is stored).
    """

    def __init__(self, seed: int) -> None:
        self.disturbance = "none"
        self.share = 1.0
        self.key_id = "first-key"
        self.refused = 0  # requests with another key
        self.affected: Counter[str] = Counter()
        self.rng = random.Random(seed)  # noqa: S311
        self.s3 = S3Server()
        self.client = self.s3.client()
        self.client.create_bucket(Bucket=BUCKET)
        self._digests: dict[tuple[str, str], str] = {}  # by key and ETag
        super().__init__(("127.0.0.1", 0), StoreProxyHandler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def settings(self) -> dict[str, str]:
        """Settings that make the product use this store."""
        return {
            "STORAGE_URL": f"s3://{BUCKET}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-store",
        }

    def next_disturbance(self) -> str:
        """Returns the disturbance of the next request, or "none"."""
        affected_now = self.disturbance != "none" and self.rng.random() < self.share
        self.affected[self.disturbance] += affected_now
        return self.disturbance if affected_now else "none"

    def add_to(self, stored_files: StoredFiles, media: Path) -> StoredFiles:
        """Returns `stored_files` with the objects of this store, as paths below `media`."""
        objects = [(media / key, digest) for key, digest in self._objects()]
        intake = {path.name: path for path, _ in objects if path.parent.name == "intake"}
        uploads = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return replace(
            stored_files,
            objects=[
                (path, digest) for path, digest in objects if path.parent.name != "intake" and not is_preview(path)
            ],
            intake=intake,
            parts=[*stored_files.parts, *(media / upload["Key"] for upload in uploads)],
        )

    def end(self) -> None:
        super().end()
        self.s3.close()

    def _objects(self) -> list[tuple[str, str]]:
        """Returns the key and SHA-256 of every object, read directly from the S3 server."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [self._digest(entry) for page in pages for entry in page.get("Contents", [])]

    def _digest(self, entry: dict[str, Any]) -> tuple[str, str]:
        known = entry["Key"], entry["ETag"]
        if known not in self._digests:
            try:
                content = self.client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            except self.client.exceptions.NoSuchKey:  # deleted since it was listed
                content = b""
            self._digests[known] = hashlib.sha256(content).hexdigest()
        return entry["Key"], self._digests[known]


class StoreProxyHandler(QuietHandler):
    """Answers or forwards one request."""

    server: StoreProxy

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        next_disturbance = self.server.next_disturbance()
        if next_disturbance == "slow":
            time.sleep(SLOW_S)
        is_write = self.command == "PUT"
        if next_disturbance == "reset":
            self.reset()
        elif next_disturbance == "failing":
            self._respond(503)
        elif next_disturbance == "refusing" or not self._is_authorized():
            self._respond(403)
        elif next_disturbance == "discarding" and is_write:
            self._respond(200, ETag='"0"')
        else:
            self._forward(body[: len(body) // 2] if next_disturbance == "truncating" and is_write else body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _is_authorized(self) -> bool:
        known = f"Credential={self.server.key_id}/" in self.headers.get("Authorization", "")
        self.server.refused += not known
        return known

    def _forward(self, body: bytes) -> None:
        address = self.server.s3.endpoint.removeprefix("http://")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
        response_headers = {name: value for name, value in answer.getheaders() if name.lower() not in OWN_HEADERS}
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._respond(answer.status, content, length=length, **response_headers)

    def _respond(self, status: int, content: bytes = b"", *, length: str | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)
