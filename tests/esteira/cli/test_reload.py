"""`esteira reload` without an `esteira start` that takes its request."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from esteira.cli import reload as reload_module
from pipeline.config.settings import current_settings


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file"), "no `esteira start` runs with VAR_DIR"),
        (ConnectionRefusedError(111, "refused"), "no `esteira start` runs with VAR_DIR"),
        (PermissionError(13, "Permission denied"), "is of another user"),
    ],
)
def test_reload_says_why_it_reaches_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def refused(_folder: Path) -> None:
        raise error

    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    current_settings.cache_clear()
    monkeypatch.setattr(reload_module, "connect", refused)
    result = CliRunner().invoke(reload_module.reload, [])
    current_settings.cache_clear()
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
