"""What `esteira doctor` says about INTAKE_RULES and the API_TOKEN."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.doctor.settings import check_intake_rules, check_token
from pipeline.config.settings import load_settings
from pipeline.config.token_file import make_token, read_token, token_path


@pytest.mark.parametrize(
    ("rules", "level", "words"),
    [
        ("[]", "ok", "every attachment is accepted"),
        ('[{"kinds": ["sticker"], "take": false}]', "ok", "1: ignore kinds sticker"),
        (
            '[{"sessions": ["b", "a-*"], "larger_mb": 5, "take": true}]',
            "ok",
            "1: accept sessions a-* or b, larger_mb 5",
        ),
        ('[{"from_me": true, "take": true}, {"take": false}]', "ok", "2: ignore everything"),
        ('[{"take": true}, {"kinds": ["ptt"], "take": false}]', "warn", "rule 1 fits everything"),
    ],
)
def test_doctor_lists_the_rules_and_those_without_effect(
    rules: str, level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_RULES", rules)
    finding = check_intake_rules(load_settings(_env_file=None))
    assert finding.level == level
    assert words in finding.message


def test_doctor_names_the_file_of_the_token_and_not_the_token(tmp_path: Path) -> None:
    make_token(tmp_path)
    finding = check_token(load_settings(_env_file=None, var_dir=tmp_path))
    assert str(token_path(tmp_path)) in finding.message
    assert str(read_token(tmp_path)) not in finding.message
