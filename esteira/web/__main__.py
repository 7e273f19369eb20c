"""`python -m esteira.web` runs the web app as its settings say: WEB_HOST, PORT, WEB_WORKERS."""

from __future__ import annotations

import argparse
import os
import sys

import uvicorn

from actors.observability.logging import configure_observability
from esteira.web.server.connections import raise_file_limit
from pipeline.config.settings import current_settings
from pipeline.errors import SettingsError

BACKLOG = 128  # accepted in one go, before any of them can be told that there is no room
KEEP_ALIVE_S = 75  # gateways keep their connections; it idles no process, for idle ones make room
MAX_HEAD_BYTES = 16 * 1024
MAX_SOCKET_BYTES = 1024 * 1024  # of one message; the events' own sockets take far less
GRACE_S = 15  # for requests that are under way when it is told to end
HEALTH_S = 30  # after which a worker process that does not answer its parent is replaced


def main(arguments: list[str]) -> int:
    """Runs until it is told to end; 2 if a setting is wrong."""
    parser = argparse.ArgumentParser("python -m esteira.web", description="Runs the web app as the settings say.")
    parser.add_argument("--host", metavar="WEB_HOST", help="Listen here instead of where WEB_HOST says.")
    given = parser.parse_args(arguments)
    if given.host:
        os.environ["WEB_HOST"] = given.host  # the worker processes read it again, and so does every check of it
    try:
        settings = current_settings()
    except SettingsError as error:
        print(f"esteira: {error.message}", file=sys.stderr)  # noqa: T201
        return 2
    configure_observability(settings)
    raise_file_limit()
    uvicorn.run(
        "esteira.web.app:app",
        host=settings.web_host,
        port=settings.port,
        workers=settings.web_workers,
        loop="asyncio",  # esteira.web.server.connections counts on what it says when file descriptors run out
        http="esteira.web.server.connections:LimitedHttpProtocol",
        ws="esteira.web.server.connections:LimitedSocketProtocol",
        ws_max_size=MAX_SOCKET_BYTES,
        ws_per_message_deflate=False,  # its memory for each socket, and what a few bytes unpack to
        ws_ping_interval=None,  # Socket.IO has its own
        log_config=None,
        access_log=False,  # a path may hold a gateway's secret
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=HEALTH_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
