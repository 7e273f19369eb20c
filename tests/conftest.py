"""Fixtures for all tests. A missing server skips its tests on a developer's machine and fails them in CI."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.scrubber import hide_secrets
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer, running_valkey

CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skips the test on a developer's machine, fails it in CI."""
    if CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def _give_children_default_signals() -> None:
    """Replaces ignored signals with a handler that does nothing.

    A script that runs the tests in the background (`scripts/test &`, nohup) passes on SIGINT, SIGQUIT or SIGHUP as
    ignored. Children inherit that, and the tests that interrupt a child would never end. A handler, unlike
    SIG_IGN, is reset to the default at exec, so that children get the default and pytest itself still ignores them.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_give_children_default_signals()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Five test processes for two cores: many tests wait for a timeout or a heartbeat. With four, a third is idle."""
    return 5 * (os.cpu_count() or 1) // 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With xdist, runs files with slow tests first, so that all test processes finish at about the same time."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def _restore_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what a test configures, so that another test in the same process can capture the lines of any module.

    Loggers are not cached in tests: a cached one keeps the configuration of its first line.
    """
    before = structlog.get_config() if structlog.is_configured() else None
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **options: configure(**options | {"cache_logger_on_first_use": False})
    )
    yield
    configure(**before) if before else structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _forget_secrets() -> Iterator[None]:
    """Forgets the secrets of a test's settings, which may be words of another test's messages."""
    yield
    hide_secrets(())


@pytest.fixture(autouse=True)
def _restore_umask() -> Iterator[None]:
    """Undoes the private umask of a web app that ran in this process."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def _shared_valkey() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture
def valkey(_shared_valkey: ValkeyServer) -> ValkeyServer:
    """An empty Valkey, shared by all tests. Tests that stop or pause a server use `own_valkey`."""
    _shared_valkey.client().flushall()
    return _shared_valkey


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Valkey of this test alone, which it may stop, pause, kill and restart."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def make_system(valkey: ValkeyServer, tmp_path: Path) -> Iterator[Callable[..., RunningSystem]]:
    """Makes systems on the shared Valkey; keyword arguments are settings in lower case."""
    systems: list[RunningSystem] = []

    def make(**settings: str) -> RunningSystem:
        system = RunningSystem(tmp_path, valkey.url, {name.upper(): value for name, value in settings.items()})
        systems.append(system)
        return system

    yield make
    for system in systems:
        system.close()


@pytest.fixture
def system(make_system: Callable[..., RunningSystem]) -> RunningSystem:
    """A system with short retries: 50 and 100 ms."""
    return make_system(media_backoff_ms="50")
