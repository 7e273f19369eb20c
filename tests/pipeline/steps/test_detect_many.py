"""Detect of several files, and the check of validate in the same call: the same results as with a call for each."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, StagingLostError
from pipeline.media_types.limits import rules_from
from pipeline.models import Attachment, Claim, Detected, Fetched, Kind, Validated
from pipeline.sandbox import Sandbox, pool
from pipeline.services import build_services
from pipeline.steps.detect import EXAMINE, IDENTIFY, StagedFile, StillRunning, detect_many
from pipeline.steps.validate import validate, validate_checked
from tests.support import hostile_files as hostile
from tests.support.checking import ALL_TYPES, DEFAULTS, Checker, SandboxStub, checker, error_of, sandbox, settings
from tests.support.samples import SAMPLES, pdf_by_hand, sample

__all__ = ["checker", "sandbox"]

REFUSED = {
    "empty": b"",
    "unknown": bytes(range(256)),
    "truncated": sample("jpeg/pillow")[:-200],
    "huge": hostile.huge_png(),
    "archive": hostile.OTHER_ARCHIVES["zip"](),
}


def black_png(size: tuple[int, int]) -> bytes:
    """A PNG that is slow to decode and fast to make."""
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG", compress_level=1)
    return out.getvalue()


def detect_all(
    files: list[StagedFile], *, sandbox: Sandbox, settings: Settings = DEFAULTS
) -> list[Detected | PipelineError]:
    """Calls detect_many like the pipeline does: files still running are repeated, each alone."""
    results = detect_many(files, sandbox=sandbox, settings=settings)
    return [
        detect_many([file], sandbox=sandbox, settings=settings)[0] if isinstance(result, StillRunning) else result
        for file, result in zip(files, results, strict=True)
    ]


def comparable(result: object) -> object:
    return (type(result), result.code, result.message) if isinstance(result, PipelineError) else result


def validate_both_ways(content: bytes, checker: Checker, settings: Settings) -> tuple[object, object]:
    """Results of validate with the check that detect had made, and with a check of its own."""
    detected = checker.detect(content, settings=settings)
    assert detected.checked is not None
    path = Path(checker.staged(content).path)

    def result(detected: Detected) -> object:
        validated: list[Validated] = []
        error = error_of(
            lambda: validated.append(validate(detected, path=path, sandbox=checker.sandbox, settings=settings))
        )
        return comparable(error) if error else validated[0].facts

    return result(detected), result(detected.model_copy(update={"checked": None}))


@pytest.mark.parametrize("label", SAMPLES)
def test_validate_gives_the_same_result_from_detect_and_from_its_own_call(checker: Checker, label: str) -> None:
    from_detect, own = validate_both_ways(sample(label), checker, ALL_TYPES)
    assert from_detect == own


@pytest.mark.parametrize(
    ("content", "settings", "code"),
    [
        (sample("jpeg/pillow")[:-200], DEFAULTS, Code.BROKEN),
        (hostile.huge_png(), DEFAULTS, Code.TOO_MANY_PIXELS),
        (pdf_by_hand(), settings(max_pages=1), Code.TOO_MANY_PAGES),
        (sample("docm/python-docx"), settings(active_documents="reject"), Code.ACTIVE_CONTENT),
    ],
)
def test_a_failed_check_is_reported_by_validate_not_by_detect(
    checker: Checker, content: bytes, settings: Settings, code: Code
) -> None:
    from_detect, own = validate_both_ways(content, checker, settings)
    assert isinstance(from_detect, tuple)
    assert from_detect == own
    assert from_detect[:2] == (PermanentError, code)


def test_validate_needs_no_sandbox_after_a_check_in_detect(checker: Checker) -> None:
    closed = Sandbox(processes=1, memory_mb=400, cpu_s=5, wall_s=15)
    [detected] = detect_many([checker.staged(sample("jpeg/pillow"), kind="image")], sandbox=closed, settings=DEFAULTS)
    closed.close()
    assert isinstance(detected, Detected)
    received = Detected.model_validate_json(detected.model_dump_json())  # as a message in Redis carries it
    assert validate(received, path=Path("/nowhere"), sandbox=closed, settings=DEFAULTS).facts.width == 160


def test_validate_makes_its_own_call_without_a_check_in_detect(checker: Checker) -> None:
    file = checker.staged(sample("jpeg/pillow"), kind="image")
    detected = Detected(fetched=file.fetched, kind=Kind.IMAGE, mime="image/jpeg", ext="jpeg")
    assert validate_checked(detected, settings=DEFAULTS) is None
    facts = validate(detected, path=Path(file.path), sandbox=checker.sandbox, settings=DEFAULTS).facts
    assert (facts.width, facts.height) == (160, 120)


def test_a_check_made_under_other_limits_is_repeated(checker: Checker) -> None:
    one_page = settings(max_pages=1)
    path = Path(checker.staged(pdf_by_hand()).path)
    refused = checker.detect(pdf_by_hand(), settings=one_page)
    assert validate(refused, path=path, sandbox=checker.sandbox, settings=DEFAULTS).facts.pages == 2
    accepted = checker.detect(pdf_by_hand())
    with pytest.raises(PermanentError) as caught:
        validate(accepted, path=path, sandbox=checker.sandbox, settings=one_page)
    assert caught.value.code == Code.TOO_MANY_PAGES


FACTS = {"width": 1, "height": 1}
FAULT = ["RTF_CUT", {}]


def detect_answer(checked: object) -> Detected | PipelineError:
    """What detect makes of a child's answer with this check."""
    content = {"name": "jpeg", "mime": "image/jpeg", "fault": None, "sound_only": False, "checked": checked}
    attachment = Attachment(session="s", message_id="m", kind=Kind.IMAGE)
    file = StagedFile(attachment, Fetched(size=1, sha256="0" * 64), "/nowhere")
    return detect_many([file], sandbox=SandboxStub(content), settings=DEFAULTS)[0]


@pytest.mark.parametrize(
    ("checked", "used"),
    [
        ({"name": "jpeg", "kind": "image", "facts": FACTS}, True),
        ({"name": "jpeg", "kind": "image", "fault": FAULT}, True),
        ({"name": "png", "kind": "image", "facts": FACTS}, False),
        ({"name": "jpeg", "kind": "document", "facts": FACTS}, False),
        ({"name": "jpeg", "kind": "image", "facts": {"width": "wide"}}, False),
        ({"name": "jpeg", "kind": "image", "facts": {"width": 10**30}}, False),
        ({"name": "jpeg", "kind": "image", "facts": {"width": -1}}, False),
        ({"name": "jpeg", "kind": "image", "facts": {"flags": ["API_TOKEN=secret"]}}, False),
        (None, False),
    ],
)
def test_a_check_is_used_only_for_the_type_and_kind_that_detect_decides(checked: object, used: bool) -> None:
    detected = detect_answer(checked)
    assert isinstance(detected, Detected)
    assert (detected.checked is not None) is used


@pytest.mark.parametrize(
    "checked",
    [
        {"name": "jpeg", "kind": "image"},
        {"name": "jpeg", "kind": "image", "fault": {"code": "broken", "message": "ends early"}},
        {"name": "jpeg", "kind": "image", "fault": ["NO_SUCH_REASON", {}]},
        {"name": "jpeg", "kind": "image", "fault": ["RTF_CUT", {"pages": 1}]},
        {"name": "jpeg", "kind": "image", "fault": ["NO_THREAD", {}]},
        {"name": [], "kind": {}, "facts": []},
        "invalid",
    ],
)
def test_a_malformed_check_is_an_invalid_reply(checked: object) -> None:
    error = detect_answer(checked)
    assert isinstance(error, PermanentError)
    assert (error.code, error.message) == (Code.DECODER_CRASH, "the decoder process sent an invalid reply")


@pytest.mark.parametrize(
    ("declared", "size", "checked_as"),
    [
        ("image", 1000, "image"),
        ("document", 1000, "document"),
        ("audio", 1000, "image"),
        (None, 1000, "image"),
        ("image", 16_000_001, None),
        ("document", 16_000_001, "document"),
    ],
)
def test_a_file_larger_than_its_kind_allows_is_not_checked(
    checker: Checker, declared: str | None, size: int, checked_as: str | None
) -> None:
    path = checker.staged(sample("jpeg/pillow")).path
    content = checker.sandbox.call(
        EXAMINE, file=path, kind=declared, size=size, limits=rules_from(DEFAULTS).limits_json
    )
    assert content["name"] == "jpeg"
    assert content.get("checked", {}).get("kind") == checked_as


@pytest.mark.parametrize("label", ["flac/ffmpeg", "mkv/h264"])
def test_a_file_of_a_disallowed_type_is_not_checked(checker: Checker, label: str) -> None:
    path = checker.staged(sample(label)).path
    disallowed, allowed = (
        checker.sandbox.call(EXAMINE, file=path, kind=None, size=1, limits=rules_from(settings).limits_json)
        for settings in (DEFAULTS, ALL_TYPES)
    )
    assert disallowed["name"] == allowed["name"] == label.partition("/")[0]
    assert ("checked" in disallowed, "checked" in allowed) == (False, True)


def test_detect_many_gives_the_same_results_as_single_calls(checker: Checker) -> None:
    contents = [sample(label) for label in SAMPLES] + list(REFUSED.values())
    files = [checker.staged(content, kind="document", filename="a.docx") for content in contents]
    single = [detect_many([file], sandbox=checker.sandbox, settings=DEFAULTS)[0] for file in files]
    assert [*map(comparable, detect_all(files, sandbox=checker.sandbox))] == [*map(comparable, single)]
    assert len({isinstance(result, PipelineError) for result in single}) == 2


def test_a_missing_file_among_many_is_lost_alone(checker: Checker) -> None:
    jpeg, png = checker.staged(sample("jpeg/pillow")), checker.staged(sample("png/pillow"))
    missing = jpeg._replace(path=str(checker.folder / "missing"), fetched=Fetched(size=700, sha256="1" * 64))
    results = detect_all([jpeg, missing, png], sandbox=checker.sandbox)
    assert [type(result) for result in results] == [Detected, StagingLostError, Detected]


@pytest.fixture
def small_sandbox() -> Any:
    """A sandbox with too little memory for a large image."""
    sandbox = Sandbox(processes=1, memory_mb=30, cpu_s=5, wall_s=30)
    yield sandbox
    sandbox.close()


def test_a_check_that_ends_its_process_is_reported_by_validate(checker: Checker, small_sandbox: Sandbox) -> None:
    large, small = checker.staged(black_png((4000, 4000))), checker.staged(sample("png/pillow"))
    first, second = detect_all([large, small], sandbox=small_sandbox)
    assert isinstance(first, Detected)
    assert (first.mime, first.checked) == ("image/png", None)
    assert isinstance(second, Detected)
    assert second.checked is not None
    with pytest.raises(PermanentError) as caught:
        validate(first, path=Path(large.path), sandbox=small_sandbox, settings=DEFAULTS)
    assert caught.value.code == Code.TOO_COSTLY


def test_files_still_running_get_their_result_when_repeated_alone(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SLOW_CALL_S", 0.0)
    contents = [sample("jpeg/pillow"), black_png((12_000, 4000)), sample("webp/pillow")]
    files = [checker.staged(content) for content in contents]
    results = detect_many(files, sandbox=checker.sandbox, settings=DEFAULTS)
    assert any(isinstance(result, StillRunning) for result in results)
    results = detect_all(files, sandbox=checker.sandbox)
    assert [result.ext for result in results if isinstance(result, Detected)] == ["jpeg", "png", "webp"]


def test_identify_makes_no_check(checker: Checker) -> None:
    path = checker.staged(sample("jpeg/pillow")[:-200]).path
    content = checker.sandbox.call(IDENTIFY, file=path, limits=rules_from(DEFAULTS).limits_json)
    assert (content["name"], "checked" in content) == ("jpeg", False)


def test_services_detect_many_reports_unstaged_files_as_lost(tmp_path: Path) -> None:
    services = build_services(settings(var_dir=tmp_path, sandbox_processes=1))
    services.staging.folder.mkdir(parents=True)
    work = []
    for name, content in (("a", sample("jpeg/pillow")), ("gone", None), ("b", sample("png/pillow")), ("c", b"")):
        claim = Claim.model_construct(
            token="t", record=SimpleNamespace(id=name), attachment=Attachment(session="s", message_id=name)
        )
        work.append((claim, Fetched(size=len(content or b""), sha256=name * 64)))
        if content is not None:
            (services.staging.folder / name).write_bytes(content)
    jpeg, lost, png, empty = (services.detect_many([item])[0] for item in work)
    together = [type(result) for result in services.detect_many(work)]
    assert together[1::2] == [StagingLostError, PermanentError]
    assert set(together[::2]) <= {Detected, StillRunning}
    assert isinstance(jpeg, Detected)
    assert services.validate(work[0][0], jpeg).facts.width == 160
    assert isinstance(lost, StagingLostError)
    assert isinstance(png, Detected)
    assert isinstance(empty, PermanentError)
    assert services.detect_many([]) == []
    services.close()
