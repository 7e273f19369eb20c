"""What `esteira start` prints when its parts have started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from esteira.cli.start_output import announce, announce_addresses
from pipeline.config.settings import load_settings


@pytest.mark.parametrize("token", [None, "a" * 16])
def test_start_says_which_tokens_work_without_an_api_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str | None
) -> None:
    announce_addresses(load_settings(_env_file=None, var_dir=tmp_path, api_token=token), with_web=True)
    printed = capsys.readouterr().err
    assert ("the API accept only tokens of users" in printed) is (token is None)
    assert ("dashboard" in printed) is (token is not None)  # without a token its address would answer 503


def test_closed_stderr_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        settings = load_settings(_env_file=None, var_dir=tmp_path, api_token="a" * 16)
        announce(settings, "server", "Valkey")
        announce_addresses(settings, with_web=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # for what is still in its buffer
