"""What every test may use. A server that is missing is a skip at home and a failure in CI."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.system import Plant
from tests.support.valkey import ValkeyServer, running_valkey

CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skips at home, fails in CI."""
    if CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two test processes a core: most tests wait, for a time-out, a heartbeat or a process that boots."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, the files with slow tests come first, so that all processes end at about the same time."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def _shared_valkey() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def valkey(_shared_valkey: ValkeyServer) -> ValkeyServer:
    """An empty Valkey. It is shared by all tests: whoever stops or pauses it uses `own_valkey`."""
    _shared_valkey.client().flushall()
    return _shared_valkey


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Valkey of this test alone, to be stopped, stalled, killed and started again."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def make_plant(valkey: ValkeyServer, tmp_path: Path) -> Iterator[Callable[..., Plant]]:
    """Makes plants on the shared Valkey; settings by their names in lower case."""
    made: list[Plant] = []

    def make(**settings: str) -> Plant:
        plant = Plant(tmp_path, valkey.url, {name.upper(): value for name, value in settings.items()})
        made.append(plant)
        return plant

    yield make
    for plant in made:
        plant.close()


@pytest.fixture
def plant(make_plant: Callable[..., Plant]) -> Plant:
    """A plant with quick retries: 50 and 100 ms."""
    return make_plant(media_backoff_ms="50")
