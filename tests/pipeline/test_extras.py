"""The extras: which are missing, and the command that adds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline import extras
from pipeline.extras import EXTRAS, MissingExtraError, install_command, is_installed, require_extra


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a module of the extra `worker` and all of `otel` look as if they were not installed."""
    missing = {"av", "opentelemetry.sdk"}
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in missing else object())


@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_is_installed_where_the_tests_run(extra: str) -> None:
    assert is_installed(extra)
    require_extra(extra, "a test")


def test_extra_without_one_of_its_modules_is_not_installed(without: None) -> None:
    assert [extra for extra in EXTRAS if not is_installed(extra)] == ["otel", "worker"]


def test_missing_parent_package_counts_as_a_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "EXTRAS", {"none": ("no_such_package.module",)})
    assert not is_installed("none")


def test_missing_extra_names_what_needs_it_and_the_command(without: None) -> None:
    with pytest.raises(MissingExtraError) as raised:
        require_extra("worker", "`esteira check`")
    assert raised.value.message == (
        "`esteira check` needs the extra `worker`, which is not installed: pip install 'esteira[worker]'; "
        "'esteira[all]' has every extra"
    )


def test_command_for_a_tool_of_uv_names_all_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv-receipt.toml").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(extras, "tool_requirement", lambda: "/dist/esteira-1.0-py3-none-any.whl[all]")
    assert install_command("web") == "uv tool install '/dist/esteira-1.0-py3-none-any.whl[all]'"
