"""uvicorn's server and its web processes, which end without losing a request, on sockets that may outlive them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn import Config, Server
from uvicorn.server import ServerState
from uvicorn.supervisors import multiprocess

from pipeline.service_manager.notify import READY, STOPPING, ServiceManager

ACCEPT_TICKS = 3  # turns of the event loop from accept(2) to `connection_made`


class EndingState(ServerState):
    """uvicorn's state that all connections share. `is_ending`: no further connection is accepted."""

    is_ending = False


class HeldSocket(socket.socket):
    """A listening socket of another process, which has chosen the length of its queue."""

    def listen(self, backlog: int = 0, /) -> None:
        """Does nothing: asyncio would shorten the queue for all processes that share it."""


class WebServer(Server):
    """A server that stops accepting before it ends, and answers what it has accepted.

    The `manager` gets a report when the server is ready and when it stops.
    """

    def __init__(self, config: Config, manager: ServiceManager | None = None) -> None:
        super().__init__(config)
        self.server_state: EndingState = EndingState()
        self._manager = manager or ServiceManager()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Runs until SIGTERM or SIGINT, on these listening sockets or on one of its own."""
        held = None if sockets is None else [HeldSocket(fileno=listener.detach()) for listener in sockets]
        super().run(held)  # type: ignore[arg-type]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._manager.tell(READY)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._manager.tell(STOPPING)
        await self._stop_accepting()
        await super().shutdown(sockets)

    async def _stop_accepting(self) -> None:
        """Leaves further connections in the queue of the socket, which another process may accept.

        asyncio drops connections that were accepted in the same turn in which its server is closed.
        """
        self.server_state.is_ending = True
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener.fileno())
        for _ in range(ACCEPT_TICKS):
            await asyncio.sleep(0)


class WebProcess(multiprocess.Process):
    """One of several web processes."""

    @property
    def server(self) -> Server:
        """The server of this process, made when the process runs."""
        if self._server is None:
            self._server = WebServer(self.config)
        return self._server


class WebProcesses(multiprocess.Multiprocess):
    """The parent of several web processes. The `manager` gets a report when all are ready, and when they stop."""

    def __init__(self, config: Config, sockets: list[socket.socket], manager: ServiceManager) -> None:
        super().__init__(config, sockets)
        self._manager = manager
        self._told_ready = False

    def init_processes(self) -> None:
        # uvicorn offers no other way to choose the class of its processes.
        setattr(multiprocess, "Process", WebProcess)  # noqa: B010  (mypy: a class cannot be assigned)
        super().init_processes()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        if not self._told_ready and all(process.is_ready() for process in self.processes):
            self._told_ready = True
            self._manager.tell(READY)

    def terminate_all(self) -> None:
        self._manager.tell(STOPPING)
        super().terminate_all()


def run_server(config: Config, sockets: list[socket.socket], manager: ServiceManager) -> bool:
    """Runs the web processes until SIGTERM or SIGINT; without sockets they make one. Returns whether they started."""
    if config.workers > 1:
        processes: Any = WebProcesses(config, sockets or [_own_socket(config)], manager)
        processes.run()
        return True
    server = WebServer(config, manager)
    server.run(sockets or None)
    return server.started


def _own_socket(config: Config) -> socket.socket:
    """A listening socket: uvicorn only binds it, and the web processes leave its queue as it is."""
    listener = config.bind_socket()
    listener.listen(config.backlog)
    return listener
