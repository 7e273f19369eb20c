"""What `esteira start` prints when its parts have started."""

from __future__ import annotations

from pathlib import Path

import pytest

from esteira.cli.start_output import announce_addresses
from pipeline.config.settings import load_settings


@pytest.mark.parametrize("token", [None, "a" * 16])
def test_start_says_which_tokens_work_without_an_api_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str | None
) -> None:
    announce_addresses(load_settings(_env_file=None, var_dir=tmp_path, api_token=token), with_web=True)
    printed = capsys.readouterr().err
    assert ("the API accept only tokens of users" in printed) is (token is None)
    assert ("dashboard" in printed) is (token is not None)  # without a token its address would answer 503
