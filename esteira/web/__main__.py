"""`python -m esteira.web` runs the web app with the settings WEB_HOST, PORT and WEB_WORKERS.

It listens on the sockets that its starter passes to it (systemd's LISTEN_FDS), instead of WEB_HOST and PORT, and
reports to NOTIFY_SOCKET when it is ready.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE

from actors.observability.logging import configure_observability
from esteira.web.server.connections import MAX_HEAD_BYTES
from esteira.web.server.file_limits import backlog, raise_file_limit
from esteira.web.server.web_server import run_server
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import SettingsError
from pipeline.security.private_dirs import set_private_umask
from pipeline.service_manager.notify import ServiceManager
from pipeline.service_manager.sockets import inherited_sockets

KEEP_ALIVE_S = 75  # gateways reuse their connections; idle ones are closed earlier when others need the room
MAX_SOCKET_BYTES = 1024 * 1024  # of one message; live events accept far less
SHUTDOWN_GRACE_S = 15  # for running requests after SIGTERM
WORKER_TIMEOUT_S = 30  # after which a web process that does not answer its parent is replaced


def main(arguments: list[str]) -> int:
    """Runs until SIGTERM or SIGINT. Returns 2 if a setting is wrong, 3 if the app does not start."""
    set_private_umask()
    parser = argparse.ArgumentParser("python -m esteira.web", description="Runs the web app.")
    parser.add_argument("--host", metavar="WEB_HOST", help="Listen on this address instead of WEB_HOST.")
    options = parser.parse_args(arguments)
    if options.host:
        os.environ["WEB_HOST"] = options.host  # the web processes read the settings again
    manager = ServiceManager.of_environment()
    try:
        sockets = inherited_sockets()
        settings = current_settings()
    except SettingsError as error:
        print(f"esteira: {error.message}", file=sys.stderr)  # noqa: T201
        return 2
    configure_observability(settings)
    raise_file_limit()
    with suppress(KeyboardInterrupt):  # of a Ctrl-C, after the shutdown
        if not run_server(_config(settings), sockets, manager):
            return STARTUP_FAILURE
    return 0


def _config(settings: Settings) -> Config:
    return Config(
        "esteira.web.app:app",
        host=settings.web_host,
        port=settings.port,
        workers=settings.web_workers,
        loop="asyncio",  # LoopExceptionHandler matches asyncio's message for missing file descriptors
        http="esteira.web.server.connections:LimitedHttpProtocol",
        ws="esteira.web.server.sockets:LimitedSocketProtocol",
        ws_max_size=MAX_SOCKET_BYTES,
        ws_per_message_deflate=False,  # saves its memory per socket, and a few bytes cannot unpack to many
        ws_ping_interval=None,  # Socket.IO sends its own pings
        log_config=None,
        access_log=False,  # a path may contain a gateway's secret
        proxy_headers=False,
        server_header=False,
        backlog=backlog(),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        timeout_worker_healthcheck=WORKER_TIMEOUT_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
