"""Which kind of attachment it is: what the content may be, of that what was declared, else the natural one."""

from __future__ import annotations

import pytest

from tests.support.checking import EVERYTHING, Checker, checker, sandbox
from tests.support.odd_files import SOUND_ONLY
from tests.support.samples import media_type_of, sample

__all__ = ["checker", "sandbox"]


@pytest.mark.parametrize(
    ("label", "declared", "kind"),
    [
        ("webp/pillow", "sticker", "sticker"),
        ("webp/animated", "sticker", "sticker"),
        ("webp/pillow", "image", "image"),
        ("webp/pillow", None, "image"),
        ("png/pillow", "sticker", "image"),
        ("ogg/opus", "ptt", "ptt"),
        ("ogg/opus", "audio", "audio"),
        ("ogg/opus", None, "audio"),
        ("m4a/aac", "ptt", "ptt"),
        ("jpeg/pillow", "document", "document"),
        ("mp4/h264", "document", "document"),
        ("mp4/h264", "image", "video"),
        ("pdf/hand", "image", "document"),
        ("gif/animated", "video", "image"),
    ],
)
def test_the_kind_follows_from_content_and_declaration(
    checker: Checker, label: str, declared: str | None, kind: str
) -> None:
    found = checker.detect(sample(label), kind=declared)
    assert found.kind == kind
    assert bool(found.mismatch) is (declared not in {None, kind})


@pytest.mark.parametrize(("declared", "kind"), [(None, "audio"), ("video", "audio"), ("ptt", "ptt"), ("document",) * 2])
@pytest.mark.parametrize("label", SOUND_ONLY)
def test_sound_alone_is_no_video_whatever_it_came_in(
    checker: Checker, label: str, declared: str | None, kind: str
) -> None:
    found = checker.check(SOUND_ONLY[label](), kind=declared, given=EVERYTHING)
    assert (found.detected.kind, found.detected.mime) == (kind, media_type_of(label).mime)
    assert bool(found.detected.mismatch) is (declared == "video")
    assert found.facts.width is None
    assert 990 <= (found.facts.duration_ms or 0) <= 1080


@pytest.mark.parametrize("declared", ["audio", "ptt"])
@pytest.mark.parametrize("label", ["mp4/h264", "mov/h264", "avi/mpeg4", "avi/h264", "3gp/h263", "mkv/h264", "webm/vp9"])
def test_a_video_sent_as_sound_is_a_video(checker: Checker, label: str, declared: str) -> None:
    found = checker.check(sample(label), kind=declared, given=EVERYTHING).detected
    assert (found.kind, found.mime) == ("video", media_type_of(label).mime)
    assert found.mismatch == f"sent as {declared}, is video"
