"""Socket.IO's protocol written by hand, for clients that misbehave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import websocket


@contextmanager
def raw_socket(port: int, *, timeout_s: float = 10) -> Iterator[websocket.WebSocket]:
    """A WebSocket that Socket.IO has opened and that has not authenticated yet."""
    socket = websocket.create_connection(
        f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", timeout=timeout_s, skip_utf8_validation=True
    )
    try:
        assert socket.recv().startswith("0{")
        yield socket
    finally:
        socket.close(timeout=0)


@contextmanager
def authenticated_socket(port: int, **auth: Any) -> Iterator[websocket.WebSocket]:
    """A WebSocket that has authenticated with this auth."""
    with raw_socket(port) as socket:
        socket.send("40" + json.dumps(auth))
        assert socket.recv().startswith("40{")
        yield socket
