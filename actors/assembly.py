"""The one place that puts the belt together from settings."""

from __future__ import annotations

from functools import partial

import dramatiq
from dramatiq.middleware import CurrentMessage

from actors.belt import QUICK_TIMEOUT_S, WORKER_TIMEOUT_S, connect
from actors.broker import EsteiraBroker
from actors.chain import Chain
from actors.chores import chores, sign_off
from actors.courier import Courier
from actors.crew import Places
from actors.heartbeat import Heartbeat
from actors.ledger import Ledger
from actors.pausing import Pausing
from actors.places import Lanes
from actors.quarantine import Quarantine
from actors.retries import Retries, RetryPolicy
from actors.signals import Signals
from pipeline.catalogue import Pause
from pipeline.cores import cores
from pipeline.services import services
from pipeline.settings import Settings


def build_broker(settings: Settings) -> EsteiraBroker:
    """The broker with its middleware. It connects to nothing before it is used."""
    policy = RetryPolicy(settings.media_attempts, settings.media_backoff_ms)
    pausing = Pausing(_pauses)
    middleware: list[dramatiq.Middleware] = [
        Signals(),
        CurrentMessage(),
        Chain(hop=settings.chain == "hop", pausing=pausing),
        Retries(policy),
        pausing,
        Quarantine(),
    ]
    broker = EsteiraBroker(
        connect_worker=partial(connect, settings.redis, timeout_s=WORKER_TIMEOUT_S),
        connect_sender=partial(connect, settings.redis, timeout_s=QUICK_TIMEOUT_S),
        ledger=Ledger.of(settings),
        lanes=Lanes.of(settings),
        middleware=middleware,
        places=_places(settings),
    )
    broker.add_middleware(Courier(settings))
    broker.add_middleware(Heartbeat(chores(broker, settings), last=partial(sign_off, broker)))
    return broker


def _places(settings: Settings) -> Places:
    # A second leader has a decoder of its own, which is a core's work: where each process has one core, the two would
    # only take each other's time.
    abreast = cores() // settings.web_concurrency
    return Places(max(1, min(abreast, settings.sandbox_processes)), settings.sandbox_processes)


def _pauses() -> list[Pause]:
    return services().catalogue.pauses.all()
