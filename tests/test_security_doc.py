"""SECURITY.md and docs/security.md name only files, settings and pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = ("SECURITY.md", "docs/security.md")


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_the_page_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    paths = set(re.findall(r"`((?:tests|pipeline|actors|esteira|scripts)/[\w./-]+)`", text))
    assert page != "SECURITY.md" or len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize("setting", ["SECURITY_CONTACT", "CLAMD_ADDRESS", "FETCH_PORTS", "ENCRYPTION_KEYS"])
def test_settings_in_the_policy_exist(setting: str) -> None:
    assert setting in (ROOT / "SECURITY.md").read_text()
    assert setting.lower() in Settings.model_fields
