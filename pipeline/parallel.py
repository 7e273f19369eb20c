"""Runs work that waits for a server on several items in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pipeline.errors import PipelineError

Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = 16  # items that are processed at the same time


def result_or_error(work: Callable[[Item], Result], item: Item) -> Result | PipelineError:
    """The result for the item, or the PipelineError that `work` raises."""
    try:
        return work(item)
    except PipelineError as error:
        return error


def map_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | PipelineError]:
    """The result or the error of each item, in the order of the items."""
    if len(items) < 2:
        return [result_or_error(work, item) for item in items]
    with ThreadPoolExecutor(min(len(items), THREADS), thread_name_prefix="parallel") as threads:
        return list(threads.map(partial(result_or_error, work), items))
