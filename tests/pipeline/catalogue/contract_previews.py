"""Tests of previews that every database must pass."""

from __future__ import annotations

import pytest

from pipeline.catalogue import Catalogue, Preview, PreviewState


class PreviewsContract:
    """Subclass it with the fixture `url` (an empty, migrated database)."""

    @pytest.fixture
    def catalogue(self, url: str) -> Catalogue:
        return Catalogue(url)

    def test_get_many_returns_previews_by_hash(self, catalogue: Catalogue) -> None:
        hashes = [f"{number:064x}" for number in range(450)]
        made = Preview(sha256=hashes[0], state=PreviewState.MADE, thumbhash="YJqGPQw7", width=320, height=200)
        sound = Preview(sha256=hashes[449], state=PreviewState.MADE, peaks=(0, 100, 7))
        for preview in (made, sound):
            catalogue.previews.save(preview)
        assert catalogue.previews.get_many([*hashes, *hashes]) == {hashes[0]: made, hashes[449]: sound}
        assert catalogue.previews.get_many(hashes[:20]) == {hashes[0]: made}
        assert catalogue.previews.get_many([]) == {}

    def test_save_replaces_a_preview_until_it_is_deleted(self, catalogue: Catalogue) -> None:
        first = Preview(sha256="ab" * 32, state=PreviewState.MADE, width=1, height=2)
        second = Preview(sha256="ab" * 32, state=PreviewState.FAILED)
        catalogue.previews.save(first)
        catalogue.previews.save(second)
        assert catalogue.previews.get_many(["ab" * 32]) == {"ab" * 32: second}
        catalogue.previews.delete("ab" * 32)
        assert catalogue.previews.get_many(["ab" * 32]) == {}
