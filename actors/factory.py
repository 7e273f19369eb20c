"""Builds the broker and its middleware from the settings. This is the only place that does."""

from __future__ import annotations

from functools import partial

import dramatiq
from dramatiq.middleware import CurrentMessage

from actors.broker.broker import EsteiraBroker
from actors.execution.batch import BatchLimits
from actors.intake.return_scan import ReturnScans, scan_after_return
from actors.maintenance.schedule import WorkerThreads, maintenance_tasks
from actors.maintenance.tasks import stop_worker
from actors.middleware.pauses import PauseMiddleware
from actors.middleware.poison import Quarantine
from actors.middleware.readiness import TellReady
from actors.middleware.retries import Retries, RetryPolicy
from actors.middleware.routing import StageRouter
from actors.middleware.signals import Signals
from actors.redis_queue.finished_jobs import FinishedJobs
from actors.redis_queue.queue import QUICK_TIMEOUT_S, WORKER_TIMEOUT_S
from actors.redis_queue.scheduling import SizeClasses
from actors.webhooks.dispatcher import WebhookDispatcher
from pipeline.catalogue import Pause
from pipeline.config.cpu_count import available_cpus
from pipeline.config.settings import Settings
from pipeline.redis_client import connect
from pipeline.services import services


def build_broker(settings: Settings) -> EsteiraBroker:
    """The broker with its middleware. It connects to Redis at its first use."""
    pauses = PauseMiddleware(_read_pauses)
    router = StageRouter(hop=settings.chain == "hop", pauses=pauses)
    middleware: list[dramatiq.Middleware] = [
        Signals(),
        TellReady(),
        CurrentMessage(),
        router,
        Retries(RetryPolicy.of(settings)),
        pauses,
        Quarantine(),
    ]
    broker = EsteiraBroker(
        connect_worker=partial(connect, settings.redis, timeout_s=WORKER_TIMEOUT_S),
        connect_enqueue=partial(connect, settings.redis, timeout_s=QUICK_TIMEOUT_S),
        finished_jobs=FinishedJobs.of(settings),
        size_classes=SizeClasses.of(settings),
        router=router,
        limits=_batch_limits(settings),
        middleware=middleware,
    )
    broker.add_middleware(WebhookDispatcher(settings))
    broker.add_middleware(WorkerThreads(maintenance_tasks(broker, settings), on_stop=partial(stop_worker, broker)))
    broker.on_return = ReturnScans(lambda: scan_after_return(services().catalogue, broker.redis_queue)).signal
    return broker


def _batch_limits(settings: Settings) -> BatchLimits:
    # A second leader has a decoder of its own, which keeps a core busy: with one core for each process the two would
    # only slow each other down.
    parallel = max(1, min(available_cpus() // settings.web_concurrency, settings.sandbox_processes))
    return BatchLimits(parallel, settings.sandbox_processes, SizeClasses.of(settings).large_bytes)


def _read_pauses() -> list[Pause]:
    return services().catalogue.pauses.all()
