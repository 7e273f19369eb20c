"""Esteira's workers with a name service of ours: it knows the load's hosts, and fails or dawdles as a file tells it.

Only the lookup of their names is replaced; what the product makes of its answer is its own.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

DOMAIN = ".chaos.test"  # RFC 6761: nobody's
SLOW_S = 10.0

_mood = Path(os.environ["CHAOS_NAMES"])  # well, failing or slow; well without it
_system = socket.getaddrinfo


def _lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    if not str(host).endswith(DOMAIN):
        return _system(host, port, *args, **kwargs)
    disturbance = _mood.read_text() if _mood.exists() else "well"
    if disturbance == "slow":
        time.sleep(SLOW_S)
    if disturbance == "failing":
        raise socket.gaierror(socket.EAI_AGAIN, "the name service does not answer")
    return _system("127.0.0.1", port, *args, **kwargs)


socket.getaddrinfo = _lookup

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
