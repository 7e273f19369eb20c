"""Counts ignored messages in memory and writes the sums later: most webhook messages carry no media."""

from __future__ import annotations

import atexit
import threading
from collections import Counter

import structlog

from pipeline.catalogue import Catalogue
from pipeline.catalogue.tables import IGNORED_BY_RULE
from pipeline.errors import PipelineError

FLUSH_AFTER_S = 1.0

log = structlog.get_logger(__name__)


class IgnoredCounter:
    """Ignored messages since the last flush, and how many of them each rule of INTAKE_RULES has ignored.

    A killed process loses at most a second of these counts.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._counts)

    def add(self, without_media: int, by_rule: Counter[int] | None = None) -> None:
        """Counts messages without media, and those that rules have ignored by the rule's number."""
        by_rule = by_rule or Counter()
        with self._lock:
            self._counts["ignored"] += without_media + by_rule.total()
            self._counts.update({f"{IGNORED_BY_RULE}{number}": count for number, count in by_rule.items()})

    def flush(self, catalogue: Catalogue) -> None:
        """Adds the counts to the totals in the catalogue. If that fails, the next flush tries again."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            catalogue.increment_all(counts)
        except PipelineError:
            with self._lock:
                self._counts.update(counts)
            return
        rules = {name.removeprefix(IGNORED_BY_RULE): count for name, count in counts.items() if name != "ignored"}
        if rules:
            log.info("attachments ignored by INTAKE_RULES", by_rule=rules)


class SelfFlushingCounter(IgnoredCounter):
    """The same for a process without a task that flushes: a thread does, a second after the first count."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        self._catalogue = catalogue
        self._timer: threading.Timer | None = None
        self._registered = False

    def add(self, without_media: int, by_rule: Counter[int] | None = None) -> None:
        """See IgnoredCounter."""
        super().add(without_media, by_rule)
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(FLUSH_AFTER_S, self._flush)
            self._timer.daemon = True
            if not self._registered:  # for a process that ends within the second
                self._registered = True
                atexit.register(self._flush)
        try:
            self._timer.start()
        except RuntimeError:  # no thread can be started: the next count tries again
            self._timer = None

    def _flush(self) -> None:
        with self._lock:
            self._timer = None
        self.flush(self._catalogue)
