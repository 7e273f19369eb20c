"""The distribution, built once, and an environment with its core alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.packages import Environment, locked, new_environment, run_uv


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel. uv builds the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run_uv("build", "--out-dir", folder)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel without any extra."""
    folder = tmp_path_factory.mktemp("core")
    return new_environment(folder / "venv", wheel, locked("--no-dev", file=folder / "core.txt"))
