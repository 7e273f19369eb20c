"""`.env.example` is the list of all settings: it must not fall behind the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config.settings import Settings, load_settings

EXAMPLE = Path(__file__).parent.parent / ".env.example"
LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def test_every_setting_stands_in_the_example_and_nothing_else_does() -> None:
    names = [name for name, _ in LINE.findall(EXAMPLE.read_text())]
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)


def test_the_values_of_the_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    everything = tmp_path / "everything.env"
    everything.write_text("\n".join(f"{name}={value}" for name, value in LINE.findall(EXAMPLE.read_text())))
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    assert load_settings(_env_file=everything).model_dump() == Settings.model_construct(**defaults).model_dump()


def test_a_copy_of_the_example_changes_nothing() -> None:
    assert [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")] == []
