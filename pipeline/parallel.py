"""Several items at once, each with an end of its own: for work that waits for a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pipeline.errors import PipelineError

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = 16


def attempt(work: Callable[[Item], Result], item: Item) -> Result | PipelineError:
    """What comes of the item, or the error that it raises."""
    try:
        return work(item)
    except PipelineError as error:
        return error


def abreast(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | PipelineError]:
    """What comes of each item, in their order: at most 16 at a time wait."""
    if len(items) < 2:
        return [attempt(work, item) for item in items]
    with ThreadPoolExecutor(min(len(items), THREADS), thread_name_prefix="abreast") as threads:
        return list(threads.map(partial(attempt, work), items))
