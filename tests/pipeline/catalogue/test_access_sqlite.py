"""Users' tokens and scopes on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from tests.pipeline.catalogue.contract_access import AccessContract


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    return url


class TestContract(AccessContract):
    pass
