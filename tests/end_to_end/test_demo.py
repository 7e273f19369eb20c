"""`esteira start --demo`."""

from __future__ import annotations

import re

import pytest

from tests.support.esteira import new_installation


@pytest.mark.slow
def test_demo_stores_valid_files_and_rejects_invalid_ones() -> None:
    with new_installation(
        REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL="postgresql://127.0.0.1:1/production"
    ) as installation:
        finished = installation.run("start", "--demo", timeout=100)
        assert finished.code == 0, finished.out + finished.err
        assert "24 stored, 3 rejected, as expected." in finished.err
        assert len(re.findall(r"\d{10}_[0-9a-f]{6}\.\w+", finished.out)) == 24
        assert "rejected  type_not_allowed" in finished.out
        assert "rejected  broken" in finished.out
        stored = [path for path in (installation.folder / "demo" / "media").rglob("*") if path.is_file()]
        assert len([path for path in stored if path.suffix != ".webp"]) == 24
        again = installation.run("start", "--demo", timeout=100)
        assert again.code == 0, again.out + again.err
