"""Hostile files in the preview sandbox: each gets a result in time and leaves no file behind."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable

import pytest

from pipeline.catalogue import PreviewState
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.media_types import MEDIA_TYPES
from pipeline.steps.preview import Content
from pipeline.storage import content_key
from tests.support import hostile_files as hostile
from tests.support.s3 import BUCKET, s3_server
from tests.support.samples import sample
from tests.support.system import RunningSystem

FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a png of 4 gigapixels": ("png", hostile.huge_png),
    "a jpeg of 282 megapixels": ("jpeg", hostile.huge_jpeg),
    "a webp of 144 megapixels": ("webp", hostile.huge_webp),
    "an animated webp": ("webp", hostile.huge_animated_webp),
    "a gif with a huge frame": ("gif", lambda: hostile.gif([(60_000, 60_000)])),
    "a webp of many frames": ("webp", lambda: hostile.webp_frames(2000)),
    "a png that claims frames": ("png", lambda: hostile.png_frames(1_000_000)),
    "a png with a bomb of text": ("png", lambda: hostile.png_text(200, 4)),
    "a pdf that unpacks to a gigabyte": ("pdf", hostile.pdf_flate_bomb),
    "a pdf whose pages go in circles": ("pdf", hostile.pdf_page_loop),
    "a pdf of many pages": ("pdf", hostile.pdf_many_pages),
    "a pdf with a long number": ("pdf", hostile.pdf_long_number),
    "a tag without a sound": ("mp3", hostile.mp3_tag_only),
    "an mp4 with long sizes": ("mp4", hostile.mp4_with_long_sizes),
    "an mp4 that is cut off": ("mp4", hostile.mp4_with_too_long_data),
    "a video called a sound": ("ogg", hostile.ogg_theora),
    "an archive called a picture": ("jpeg", hostile.overlapping_zip),
    "a document called a video": ("mp4", lambda: sample("pdf/libreoffice")),
    "a video called a picture": ("png", lambda: sample("mp4/h264")),
    "nothing": ("jpeg", bytes),
}


def put(system: RunningSystem, content: bytes, type_: str) -> Content:
    sha256 = hashlib.sha256(content).hexdigest()
    system.services.storage.put_chunks([content], content_key(sha256))
    return Content(sha256=sha256, type=type_)


def test_hostile_file_gets_a_result_in_time_and_leaves_no_file(system: RunningSystem) -> None:
    for name, (type_, content) in FILES.items():
        requested = put(system, content(), type_)
        began = time.monotonic()
        with contextlib.suppress(PermanentError):
            assert system.services.make_preview(requested).state in set(PreviewState), name
        assert time.monotonic() - began < 60, name
        assert system.staged_files() == [], name
    good = system.services.make_preview(put(system, sample("jpeg/pillow"), "jpeg"))
    assert good.state is PreviewState.MADE
    left = {path.name for path in system.stored_files() if path.parent.name == ".parts"}
    assert left == set()


@pytest.mark.parametrize(
    ("decoder", "code"),
    [("segfault", Code.DECODER_CRASH), ("abort", Code.DECODER_CRASH), ("eat_memory", Code.TOO_COSTLY)],
)
def test_crashed_renderer_fails_one_preview_only(
    system: RunningSystem, monkeypatch: pytest.MonkeyPatch, decoder: str, code: Code
) -> None:
    gif = MEDIA_TYPES["gif"]
    monkeypatch.setattr("pipeline.media_types.PREVIEWS", {gif.check: f"tests.support.hostile_decoders:{decoder}"})
    with pytest.raises(PermanentError) as caught:
        system.services.make_preview(put(system, b"GIF89a", "gif"))
    assert caught.value.code is code
    monkeypatch.undo()
    assert system.services.make_preview(put(system, sample("gif/pillow"), "gif")).state is PreviewState.MADE


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        {"webp": "!!"},
        {"webp": "AAAA", "width": 1, "height": 1, "thumbhash": "AAAAAAAA"},
        {"webp": "UklGRgAAAABXRUJQ", "width": 321, "height": 1, "thumbhash": "AAAAAAAA"},
        {"webp": "UklGRgAAAABXRUJQ", "width": 1, "height": 1, "thumbhash": "<script>"},
        {"webp": "UklGRgAAAABXRUJQ", "width": 1, "height": 1},
        {"width": 1, "height": 1},
        {"peaks": [101] * 100},
        {"peaks": [1]},
    ],
)
def test_malformed_answer_of_a_renderer_is_refused(
    system: RunningSystem, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(type(system.services.preview_sandbox), "call", lambda *_, **__: answer)
    requested = put(system, sample("jpeg/pillow"), "jpeg")
    with pytest.raises(PermanentError) as caught:
        system.services.make_preview(requested)
    assert caught.value.code is Code.DECODER_CRASH
    assert len(system.stored_files()) == 1


def test_too_large_file_has_no_preview_and_is_not_read(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = put(system, sample("jpeg/pillow"), "jpeg")
    monkeypatch.setattr("pipeline.steps.preview.MAX_BYTES", 100)
    assert system.services.make_preview(requested).state is PreviewState.NONE


def test_copy_from_an_object_store_is_removed_after_the_preview(
    make_system: Callable[..., RunningSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch):
        system = make_system(storage_url=f"s3://{BUCKET}")
        good, bad = put(system, sample("mp4/h264"), "mp4"), put(system, b"no video", "mp4")
        assert system.services.make_preview(good).state is PreviewState.MADE
        with pytest.raises(PipelineError):
            system.services.make_preview(bad)
        assert system.staged_files() == []


def test_copy_of_a_killed_process_is_removed_later(system: RunningSystem) -> None:
    staging = system.services.staging
    with contextlib.suppress(RuntimeError), staging.copy("ab" * 32, [b"x"]) as path:
        path.rename(left := path.with_name(f"{'cd' * 32}.0123abcd.copy"))
        assert staging.discard_copies(600) == 0
        raise RuntimeError
    assert system.staged_files() == [left.name]
    assert staging.discard_copies(-1) == 1
    assert system.staged_files() == []
