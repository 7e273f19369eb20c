"""The health lines at the top of the page Now: Redis, catalogue, workers, webhooks."""

from __future__ import annotations

from nicegui.elements.mixins.text_element import TextElement

from esteira.web.dashboard.parts import box, text
from esteira.web.dashboard.status_poller import Snapshot
from esteira.web.dashboard.view import View

PARTS = ("redis", "catalogue", "workers", "webhooks")


class Health:
    """The health lines. A line changes only when its words change, so that screen readers announce it once."""

    def __init__(self, view: View) -> None:
        self._view = view
        with box("ul", "health", aria_label=view.t("now.health"), aria_live="polite"):
            self._lines = {part: text("li", "…", "waiting") for part in PARTS}

    def show(self, found: Snapshot) -> None:
        """Updates the lines from a snapshot."""
        view = self._view
        redis_away = found.queue is None
        away = "now.circuit.open" if found.circuit_open else "now.redis.down"
        redis_line = view.t(away, span=_spoken(view, found.queue_away_s)) if redis_away else view.t("now.redis.up")
        self._say("redis", redis_line, good=not redis_away)
        rows_away = view.t("now.catalogue.down", span=_spoken(view, found.catalogue_away_s))
        self._say(
            "catalogue",
            rows_away if found.catalogue_status is None else view.t("now.catalogue.up"),
            good=bool(found.catalogue_status),
        )
        self._say("workers", workers_line(view, found), good=bool(found.queue and found.queue.living))
        trouble = webhooks_line(view, found)
        self._say("webhooks", trouble or view.t("now.webhooks.up"), good=not trouble)
        self._lines["webhooks"].classes(
            **{"remove" if found.catalogue_status and found.catalogue_status.webhooks else "add": "absent"}
        )

    def _say(self, part: str, words: str, *, good: bool) -> None:
        line: TextElement = self._lines[part]
        if line.text != words:
            line.text = words
            line.classes(replace="good" if good else "bad")


def workers_line(view: View, found: Snapshot) -> str:
    """The line about worker processes."""
    if found.queue is None:
        return view.t("now.workers.unknown")
    count = found.queue.living
    key = {0: "now.workers.none", 1: "now.workers.one"}.get(count, "now.workers.many")
    return view.t(key, count=view.number(count))


def webhooks_line(view: View, found: Snapshot) -> str | None:
    """The line about unreachable endpoints or undelivered events; None if there are none."""
    standings = found.catalogue_status.webhooks if found.catalogue_status else ()
    away = [one.endpoint for one in standings if one.circuit.open]
    given_up = sum(one.undelivered for one in standings)
    if away:
        return view.t("now.webhooks.away", names=", ".join(away))
    return view.t("now.webhooks.given_up", count=view.number(given_up)) if given_up else None


def _spoken(view: View, seconds: float) -> str:
    # Rounded to steps: screen readers would announce every change, that is, every two seconds.
    step = 10 if seconds < 60 else 60
    return view.span(max(step, seconds // step * step)) if seconds >= step else view.span(max(1, round(seconds)))
