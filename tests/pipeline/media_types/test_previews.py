"""Previews of images, videos, documents and sounds, rendered in a real sandbox."""

from __future__ import annotations

import base64
import io
import tempfile
import wave
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageStat

from pipeline.config.settings import load_settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES, PREVIEW_MODULES
from pipeline.media_types.limits import limits_from
from pipeline.sandbox import Sandbox
from tests.support import encrypted_media
from tests.support.odd_pictures import SHOWN_WHOLE
from tests.support.samples import SAMPLES, pdf_by_hand, sample, tone

LIMITS = limits_from(load_settings(_env_file=None)).to_json()
TRANSPOSITIONS = [
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_90",
    "TRANSVERSE",
    "ROTATE_270",
]
STORED_AS = {orientation: Image.Transpose[name] for orientation, name in enumerate(TRANSPOSITIONS, 2)}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=1024, cpu_s=10, wall_s=60, preload=PREVIEW_MODULES, nice=10)
    yield sandbox
    sandbox.close()


def render(sandbox: Sandbox, name: str, content: bytes) -> dict[str, Any]:
    """Renders the preview of content of this media type: the fields of Rendered."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        preview = MEDIA_TYPES[name].preview
        assert preview
        answer: dict[str, Any] = sandbox.call(preview, file=file.name, name=name, limits=LIMITS)
    return answer


def thumbnail(sandbox: Sandbox, name: str, content: bytes) -> Image.Image:
    answer = render(sandbox, name, content)
    image = Image.open(io.BytesIO(base64.b64decode(answer["webp"])), formats=["WEBP"])
    image.load()
    assert image.size == (answer["width"], answer["height"])
    assert max(image.size) <= 320
    return image


def scene(size: tuple[int, int] = (800, 600)) -> Image.Image:
    """Red at the top left, yellow at the bottom right, blue elsewhere."""
    image = Image.new("RGB", size, "blue")
    draw, (width, height) = ImageDraw.Draw(image), size
    draw.rectangle((0, 0, max(0, width // 2 - 1), max(0, height // 2 - 1)), fill="red")
    draw.rectangle((width // 2, height // 2, width, height), fill="yellow")
    return image


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def colours(image: Image.Image) -> list[str]:
    """Names of the colours in the middle of each quarter."""
    width, height = image.size
    palette = {"red": (255, 0, 0), "yellow": (255, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
    names = []
    for x, y in ((1, 1), (3, 1), (1, 3), (3, 3)):
        pixel = image.convert("RGB").getpixel((width * x // 4, height * y // 4))
        assert isinstance(pixel, tuple)
        names.append(
            min(palette, key=lambda name: sum((a - b) ** 2 for a, b in zip(pixel, palette[name], strict=True)))
        )
    return names


SCENE_COLOURS = ["red", "blue", "blue", "yellow"]


# --- images ---


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_preview_applies_the_exif_orientation(sandbox: Sandbox, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = scene().transpose(STORED_AS[orientation]) if orientation > 1 else scene()
    image = thumbnail(sandbox, "jpeg", encoded(stored, "JPEG", exif=exif, quality=95))
    assert image.size == (320, 240)
    assert colours(image) == SCENE_COLOURS


@pytest.mark.parametrize(
    ("size", "preview_size"),
    [((4000, 3000), (320, 240)), ((100, 80), (100, 80)), ((9000, 2), (320, 1)), ((1, 1), (1, 1))],
)
def test_image_preview_keeps_the_aspect_ratio_and_never_enlarges(
    sandbox: Sandbox, size: tuple[int, int], preview_size: tuple[int, int]
) -> None:
    assert thumbnail(sandbox, "png", encoded(scene(size), "PNG")).size == preview_size


def test_image_preview_keeps_transparency_and_drops_an_opaque_alpha_channel(sandbox: Sandbox) -> None:
    sticker = Image.new("RGBA", (512, 512), (0, 0, 0, 0))
    ImageDraw.Draw(sticker).ellipse((100, 100, 400, 400), fill=(0, 200, 0, 255))
    for name, content in (
        ("webp", encoded(sticker, "WEBP", lossless=True)),
        ("png", encoded(sticker.quantize(), "PNG")),
        ("gif", encoded(sticker, "GIF")),
    ):
        image = thumbnail(sandbox, name, content)
        assert image.mode == "RGBA"
        assert (image.getpixel((2, 2))[3], image.getpixel((160, 160))[3]) == (0, 255)  # type: ignore[index]
    assert thumbnail(sandbox, "png", encoded(scene().convert("RGBA"), "PNG")).mode == "RGB"


def test_animation_preview_is_the_first_frame(sandbox: Sandbox) -> None:
    frames = [scene((100, 100)), *(Image.new("RGB", (100, 100), "black") for _ in range(3))]
    for name, form in (("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG")):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert colours(thumbnail(sandbox, name, content)) == SCENE_COLOURS


def test_image_preview_scales_16_bit_greys(sandbox: Sandbox) -> None:
    ramp = np.tile(np.linspace(0, 65535, 400).astype("uint16"), (100, 1))
    image = thumbnail(sandbox, "png", encoded(Image.fromarray(ramp), "PNG")).convert("L")
    assert [image.getpixel((x, 40)) for x in (4, 160, 315)] == pytest.approx([3, 128, 252], abs=6)


def test_image_preview_converts_colour_profiles_to_srgb(sandbox: Sandbox) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = srgb.replace(b"rXYZ", b"xXYZ").replace(b"bXYZ", b"rXYZ").replace(b"xXYZ", b"bXYZ")  # red and blue swapped
    plain = encoded(Image.new("RGB", (50, 50), (120, 60, 200)), "PNG")
    damaged = encoded(Image.new("RGB", (50, 50), (120, 60, 200)), "PNG", icc_profile=b"not a profile")
    swapped = encoded(Image.new("RGB", (50, 50), (120, 60, 200)), "PNG", icc_profile=profile)
    pixels = [thumbnail(sandbox, "png", content).getpixel((20, 20)) for content in (plain, damaged, swapped)]
    assert pixels[0] == pixels[1] == pytest.approx((120, 60, 200), abs=3)
    assert pixels[2] == pytest.approx((200, 60, 120), abs=12)


def test_image_preview_contains_no_metadata(sandbox: Sandbox) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a phone model"
    exif.get_ifd(0x8825)[1] = "N"
    answer = render(sandbox, "jpeg", encoded(scene(), "JPEG", exif=exif, comment=b"where I live"))
    webp = base64.b64decode(answer["webp"])
    assert b"EXIF" not in webp
    assert b"phone model" not in webp
    assert b"where I live" not in webp


# --- videos ---


def clip(frames: Sequence[Image.Image], *, rotation: int = 0, **options: Any) -> bytes:
    """An MP4 with 25 frames a second; `ratio` is its pixel aspect ratio."""
    ratio = options.pop("ratio", None)
    with tempfile.NamedTemporaryFile() as file:
        with av.open(file.name, "w", format="mp4") as movie:
            stream = movie.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
            if rotation:
                stream.set_display_rotation(rotation)
            if ratio:
                stream.codec_context.sample_aspect_ratio = ratio
            for frame in frames:
                movie.mux(stream.encode(av.VideoFrame.from_image(frame)))
            movie.mux(stream.encode(None))
        return Path(file.name).read_bytes()


def test_video_preview_skips_uniform_frames(sandbox: Sandbox) -> None:
    picture, black = scene((320, 240)), Image.new("RGB", (320, 240))
    white = Image.new("RGB", (320, 240), "white")
    noise = Image.effect_noise((320, 240), 4).point(lambda value: value - 118).convert("RGB")
    upside_down = picture.transpose(Image.Transpose.ROTATE_180)
    assert colours(thumbnail(sandbox, "mp4", clip([picture] * 20 + [upside_down] * 80))) == SCENE_COLOURS
    for blank in (black, white, noise):
        assert colours(thumbnail(sandbox, "mp4", clip([blank] * 40 + [picture] * 60))) == SCENE_COLOURS


def test_video_preview_of_a_black_video_is_black(sandbox: Sandbox) -> None:
    image = thumbnail(sandbox, "mp4", clip([Image.new("RGB", (320, 240))] * 60))
    assert ImageStat.Stat(image.convert("L")).mean[0] < 5


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_video_preview_applies_the_rotation(sandbox: Sandbox, rotation: int) -> None:
    image = thumbnail(sandbox, "mp4", clip([scene((320, 240))] * 5, rotation=rotation))
    expected = scene((320, 240)).rotate(rotation, expand=True)
    assert image.size == expected.size
    assert colours(image) == colours(expected)


def test_video_preview_applies_the_pixel_aspect_ratio(sandbox: Sandbox) -> None:
    assert thumbnail(sandbox, "mp4", clip([scene((240, 240))] * 5, ratio=2)).size == (320, 160)


# --- documents ---


def test_pdf_preview_is_the_first_page_on_white(sandbox: Sandbox) -> None:
    document = encoded(scene((400, 300)), "PDF")
    assert colours(thumbnail(sandbox, "pdf", document)) == SCENE_COLOURS
    empty = thumbnail(sandbox, "pdf", pdf_by_hand()).convert("L")
    assert empty.size == (214, 320)
    assert empty.getextrema()[0] >= 250  # type: ignore[operator]


@pytest.mark.parametrize(
    ("media_box", "size"), [("14400000 14400000", (320, 320)), ("14400000 1", (320, 1)), ("2 4", (8, 16))]
)
def test_pdf_preview_is_bounded_for_any_page_size(sandbox: Sandbox, media_box: str, size: tuple[int, int]) -> None:
    content = pdf_by_hand().replace(b"[0 0 200 300]", f"[0 0 {media_box}]".encode())
    assert thumbnail(sandbox, "pdf", content).size == size


def test_a_pdf_with_a_password_has_no_preview(sandbox: Sandbox) -> None:
    assert render(sandbox, "pdf", (Path(__file__).parents[2] / "files" / "locked.pdf").read_bytes()) == {}


# --- sounds ---


def wav(samples: array[int]) -> bytes:
    """A WAV of these 16-bit samples, mono at 8 kHz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def test_waveform_of_silence_is_flat_and_of_a_tone_is_full(sandbox: Sandbox) -> None:
    assert render(sandbox, "wav", wav(array("h", [0] * 8000))) == {"peaks": [0] * 100}
    assert render(sandbox, "wav", wav(array("h", [3, -3] * 4000))) == {"peaks": [0] * 100}
    peaks = render(sandbox, "wav", wav(array("h", tone(16000, offset=0, rate=8000).tobytes())))["peaks"]
    assert len(peaks) == 100
    assert min(peaks) >= 95


def test_waveform_follows_the_loudness(sandbox: Sandbox) -> None:
    loud, soft = [20000, -20000], [5000, -5000]
    peaks = render(sandbox, "wav", wav(array("h", soft * 4000 + loud * 4000)))["peaks"]
    assert peaks[10:40] == pytest.approx([25] * 30, abs=2)
    assert peaks[60:90] == pytest.approx([100] * 30, abs=8)


def test_a_very_short_sound_has_100_peaks(sandbox: Sandbox) -> None:
    assert len(render(sandbox, "wav", wav(array("h", [9000, -9000] * 10)))["peaks"]) == 100


def test_waveform_of_a_long_sound_is_sampled(sandbox: Sandbox) -> None:
    hour = array("h", [0]) * (8000 * 1800) + array("h", [20000, -20000]) * (4000 * 1800)
    peaks = render(sandbox, "wav", wav(hour))["peaks"]
    assert peaks[:49] == [0] * 49
    assert min(peaks[51:]) >= 90


# --- all types ---


@pytest.mark.parametrize("label", SAMPLES)
def test_every_sample_of_a_type_with_preview_has_one(sandbox: Sandbox, label: str) -> None:
    name = label.partition("/")[0]
    if MEDIA_TYPES[name].preview is None:
        assert name not in {"jpeg", "mp4", "ogg", "pdf"}
        return
    answer = render(sandbox, name, sample(label))
    assert ("peaks" in answer) != ("webp" in answer)


@pytest.mark.parametrize(
    ("name", "content"), [("jpeg", b"\xff\xd8\xff"), ("mp4", b"ftyp"), ("pdf", b"%PDF-1.4"), ("ogg", b"")]
)
def test_unreadable_content_is_broken(sandbox: Sandbox, name: str, content: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        render(sandbox, name, content)
    assert caught.value.code is Code.BROKEN


@pytest.mark.parametrize("label", [label for label in SHOWN_WHOLE if not label.startswith("text/")])
def test_what_viewers_show_whole_has_a_preview(sandbox: Sandbox, label: str) -> None:
    name = label.partition("/")[0]
    answer = render(sandbox, name, SHOWN_WHOLE[label]())
    assert answer.get("webp") or answer.get("peaks")


def test_preview_of_a_jpeg_without_its_end_shows_all_of_it(sandbox: Sandbox) -> None:
    content = encoded(scene(), "JPEG", quality=95, progressive=True)
    whole, cut = (thumbnail(sandbox, "jpeg", file) for file in (content, content.removesuffix(b"\xff\xd9")))
    assert whole.tobytes() == cut.tobytes()


@pytest.mark.parametrize("name", ["mp4", "m4a", "webm"])
def test_encrypted_media_have_no_preview(sandbox: Sandbox, name: str) -> None:
    make = {
        "mp4": encrypted_media.cenc_video,
        "m4a": encrypted_media.fairplay_sound,
        "webm": encrypted_media.encrypted_webm,
    }
    assert render(sandbox, name, make[name]()) == {}
