"""The memory limit of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from esteira.container.memory import LEAST_MB, shortage

MB = 1024 * 1024


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(("arguments", "role"), [([], "start"), (["worker"], "worker"), (["list"], "list")])
def test_shortage_names_the_limit_and_what_is_needed(
    name: str, arguments: list[str], role: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"{64 * MB}\n")
    found = shortage(arguments, tmp_path)
    assert found is not None
    assert found.startswith(f"the memory limit of this container is 64 MB, and `{role}` needs at least ")


def test_shortage_is_none_from_the_least_on(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(str(LEAST_MB["web"] * MB))
    assert shortage(["web"], tmp_path) is None
    (tmp_path / "memory.max").write_text(str(LEAST_MB["web"] * MB - 1))
    assert shortage(["web"], tmp_path) is not None


@pytest.mark.parametrize("text", [None, "max\n", "nonsense"])
def test_shortage_is_none_without_a_limit(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    assert shortage(["start"], tmp_path) is None
