"""What every test may use. A server that is missing is a skip at home and a failure in CI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skips at home, fails in CI."""
    if CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")
