"""The memory limit of a container, in both versions of control groups, and of the process."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from pipeline.config.memory_limit import address_space_mb, memory_limit_mb


@pytest.fixture(autouse=True)
def _no_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("memory.max", "67108864\n", 67),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "64000000\n", 64),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("cpu.max", "100\n", None),
    ],
)
def test_limit_of_a_container(tmp_path: Path, file: str, text: str, limit: int | None) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert memory_limit_mb(tmp_path) == limit


def test_lower_limit_of_address_space_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("200000000")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000_000, resource.RLIM_INFINITY))
    assert memory_limit_mb(tmp_path) == 100
    assert address_space_mb() == 100


def test_address_space_without_a_limit() -> None:
    assert address_space_mb() is None
