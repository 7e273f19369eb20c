from __future__ import annotations

import threading

from pipeline.errors import Code, RetryableError
from pipeline.parallel import THREADS, map_parallel


def test_map_parallel_keeps_the_order() -> None:
    together = threading.Barrier(THREADS)
    fault = RetryableError(Code.STORAGE, "not this one")

    def work(number: int) -> int:
        together.wait(30)
        if number == 3:
            raise fault
        return number * 2

    assert map_parallel(work, range(THREADS)) == [fault if number == 3 else number * 2 for number in range(THREADS)]


def test_single_item_uses_no_thread() -> None:
    assert map_parallel(lambda _: threading.current_thread(), ["one"]) == [threading.current_thread()]
    assert map_parallel(lambda _: None, []) == []
