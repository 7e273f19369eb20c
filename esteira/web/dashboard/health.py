"""The health lines at the top of the page Now: Redis, catalogue, intake spool, workers, webhooks."""

from __future__ import annotations

from esteira.web.dashboard.parts import box, link, text
from esteira.web.dashboard.status_poller import Snapshot
from esteira.web.dashboard.view import View

PARTS = ("redis", "catalogue", "spool", "workers", "webhooks")


class _Line:
    """One line: its words, and what a page adds behind them."""

    def __init__(self) -> None:
        self.item = box("li", "waiting")
        with self.item:
            self.words = text("span", "…")


class HealthLines:
    """The health lines. A line changes only when its words change, so that screen readers announce it once."""

    def __init__(self, view: View) -> None:
        self._view = view
        with box("ul", "health", aria_label=view.t("now.health"), aria_live="polite"):
            self._lines = {part: _Line() for part in PARTS}
            with self._lines["webhooks"].item:
                self._more = link(view.t("now.webhooks.show"), "/dashboard/webhooks")

    def show(self, snapshot: Snapshot) -> None:
        """Updates the lines from a snapshot."""
        view = self._view
        redis_away = snapshot.queue is None
        away = "now.circuit.open" if snapshot.circuit_open else "now.redis.down"
        redis_line = (
            view.t(away, span=_rounded_span(view, snapshot.queue_away_s)) if redis_away else view.t("now.redis.up")
        )
        self._say("redis", redis_line, good=not redis_away)
        catalogue_line = view.t("now.catalogue.down", span=_rounded_span(view, snapshot.catalogue_away_s))
        self._say(
            "catalogue",
            catalogue_line if snapshot.catalogue_status is None else view.t("now.catalogue.up"),
            good=bool(snapshot.catalogue_status),
        )
        spooled = spool_line(view, snapshot)
        self._say("spool", spooled or "", good=False)
        self._lines["spool"].item.classes(**{"remove" if spooled else "add": "absent"})
        self._say("workers", workers_line(view, snapshot), good=bool(snapshot.queue and snapshot.queue.living))
        problem = webhooks_line(view, snapshot)
        self._say("webhooks", problem or view.t("now.webhooks.up"), good=not problem)
        self._more.set_visibility(problem is not None)
        has_endpoints = bool(snapshot.catalogue_status and snapshot.catalogue_status.webhooks)
        self._lines["webhooks"].item.classes(**{"remove" if has_endpoints else "add": "absent"})

    def _say(self, part: str, words: str, *, good: bool) -> None:
        line = self._lines[part]
        if line.words.text != words:
            line.words.text = words
            line.item.classes(replace="good" if good else "bad")


def spool_line(view: View, snapshot: Snapshot) -> str | None:
    """The line about what is in the intake spool of the web app's machine; None if it is empty."""
    spool = snapshot.spool
    if spool.damaged:
        return view.t("now.spool.damaged", count=view.number(spool.damaged))
    if not spool.entries:
        return None
    return view.t("now.spool.waiting", count=view.number(spool.entries), span=_rounded_span(view, spool.oldest_s))


def workers_line(view: View, snapshot: Snapshot) -> str:
    """The line about worker processes."""
    if snapshot.queue is None:
        return view.t("now.workers.unknown")
    count = snapshot.queue.living
    key = {0: "now.workers.none", 1: "now.workers.one"}.get(count, "now.workers.many")
    return view.t(key, count=view.number(count))


def webhooks_line(view: View, snapshot: Snapshot) -> str | None:
    """The line about unreachable endpoints or undelivered events; None if there are none."""
    endpoints = snapshot.catalogue_status.webhooks if snapshot.catalogue_status else ()
    away = [stats.endpoint for stats in endpoints if stats.circuit.open]
    given_up = sum(stats.undelivered for stats in endpoints)
    if away:
        return view.t("now.webhooks.away", names=", ".join(away))
    return view.t("now.webhooks.given_up", count=view.number(given_up)) if given_up else None


def _rounded_span(view: View, seconds: float) -> str:
    # Rounded to steps: screen readers would announce every change, that is, every two seconds.
    step = 10 if seconds < 60 else 60
    return view.span(max(step, seconds // step * step)) if seconds >= step else view.span(max(1, round(seconds)))
