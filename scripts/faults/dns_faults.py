"""Worker entry point with a replaced name service: it resolves the hosts of the load, and fails or is slow on demand.

The file $CHAOS_NAMES selects the disturbance. Only the lookup of the load's host names is replaced; everything that the
product does with the result is unchanged.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

DOMAIN = ".chaos.test"  # a reserved domain (RFC 6761)
SLOW_S = 10.0

_disturbance_file = Path(os.environ["CHAOS_NAMES"])  # contains none, failing or slow; none if the file does not exist
_system = socket.getaddrinfo


def _lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    if not str(host).endswith(DOMAIN):
        return _system(host, port, *args, **kwargs)
    disturbance = _disturbance_file.read_text() if _disturbance_file.exists() else "none"
    if disturbance == "slow":
        time.sleep(SLOW_S)
    if disturbance == "failing":
        raise socket.gaierror(socket.EAI_AGAIN, "the name service does not answer")
    return _system("127.0.0.1", port, *args, **kwargs)


socket.getaddrinfo = _lookup

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
