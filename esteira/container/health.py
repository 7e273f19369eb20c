"""The image's health check: `python -m esteira.container.health` exits with 1 if the container's program does not work.

A web app has to answer /healthz. Workers have to report; while Redis is away they cannot, and that is not their fault:
an orchestrator that replaced them for it would only add to the outage. Other programs have no check.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

ENTRY = "esteira.container"
TIMEOUT_S = 5.0
PROCESS_1 = Path("/proc/1/cmdline")


def arguments_of(command_line: bytes) -> list[str] | None:
    """The arguments of the entry point in a command line of /proc; None if it is another program's."""
    words = command_line.decode("utf-8", "replace").rstrip("\0").split("\0")
    return words[words.index(ENTRY) + 1 :] if ENTRY in words else None


def problem(arguments: Sequence[str]) -> str | None:
    """What does not work in a container with these arguments; None if all is well."""
    role = arguments[0] if arguments else "start"
    if role == "worker" or (role == "start" and "--no-web" in arguments):
        return _workers_problem()
    return _web_problem() if role in {"start", "web"} else None


def _web_problem() -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT") or 8000), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"the web app does not answer: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"the web app answers /healthz with {status}"


def _workers_problem() -> str | None:
    import redis  # noqa: PLC0415  a web app's check does without

    from actors.operations.workers import workers  # noqa: PLC0415

    try:
        own = [worker for worker in workers() if worker.host == socket.gethostname()]
    except redis.RedisError:
        return None
    return None if any(worker.alive for worker in own) else "no worker process of this container reports"


def main() -> int:
    """Prints what is wrong, which `docker inspect` shows."""
    arguments = arguments_of(PROCESS_1.read_bytes())
    found = problem(arguments if arguments is not None else [])
    print(found or "ok")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
