"""Reports to the service manager (systemd, `esteira start`) that a worker takes messages."""

from __future__ import annotations

import dramatiq

from pipeline.service_manager.notify import READY, ServiceManager


class TellReady(dramatiq.Middleware):
    """Sends READY=1 to NOTIFY_SOCKET when a worker process begins. With systemd, NotifyAccess=all lets it."""

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        ServiceManager.of_environment().tell(READY)
