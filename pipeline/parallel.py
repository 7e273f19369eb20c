"""Several items at once, each with an end of its own: for work that waits for a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pipeline.errors import PipelineError

Item = TypeVar("Item")
DeliveryResult = TypeVar("DeliveryResult")
THREADS = 16


def result_or_error(work: Callable[[Item], DeliveryResult], item: Item) -> DeliveryResult | PipelineError:
    """What comes of the item, or the error that it raises."""
    try:
        return work(item)
    except PipelineError as error:
        return error


def map_parallel(work: Callable[[Item], DeliveryResult], items: Sequence[Item]) -> list[DeliveryResult | PipelineError]:
    """What comes of each item, in their order: at most 16 at a time wait."""
    if len(items) < 2:
        return [result_or_error(work, item) for item in items]
    with ThreadPoolExecutor(min(len(items), THREADS), thread_name_prefix="map_parallel") as threads:
        return list(threads.map(partial(result_or_error, work), items))
