"""The catalogue's previews on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from tests.pipeline.catalogue.contract_previews import PreviewsContract


class TestPreviews(PreviewsContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        url = f"sqlite:///{tmp_path}/catalogue.db"
        Catalogue(url).migrate()
        return url
