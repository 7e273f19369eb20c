"""Detect and the check of validate in one hop: the same verdicts from the same steps as with a hop for each."""

from __future__ import annotations

import hashlib
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
from pipeline.steps.detect import EXAMINE, IDENTIFY, StagedFile, StillRunning, detect_many, judge
from pipeline.steps.validate import validate, validate_checked
from tests.support import hostile_files as hostile
from tests.support.checking import EVERYTHING, Checker, checker, refusal, sandbox, settings
from tests.support.samples import SAMPLES, pdf_by_hand, sample

__all__ = ["checker", "sandbox"]

DEFAULTS = settings()
BAD = {
    "empty": b"",
    "unknown": bytes(range(256)),
    "cut": sample("jpeg/pillow")[:-200],
    "huge": hostile.huge_png(),
    "archive": hostile.OTHER_ARCHIVES["zip"](),
}


def black_png(size: tuple[int, int]) -> bytes:
    """Takes a while to decode, and none to make."""
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "PNG", compress_level=1)
    return out.getvalue()


def asked(checker: Checker, content: bytes, **declared: Any) -> StagedFile:
    name = hashlib.sha256(content).hexdigest()
    path = checker.folder / name[:32]
    path.write_bytes(content)
    return StagedFile(
        Attachment(session="s", message_id="m", **declared), Fetched(size=len(content), sha256=name), str(path)
    )


def to_the_end(items: list[StagedFile], *, box: Sandbox, given: Settings = DEFAULTS) -> list[Detected | PipelineError]:
    """As a caller does: what is still out is asked for again, alone."""
    found = detect_many(items, sandbox=box, settings=given)
    return [
        detect_many([item], sandbox=box, settings=given)[0] if isinstance(verdict, StillRunning) else verdict
        for item, verdict in zip(items, found, strict=True)
    ]


def words(verdict: object) -> object:
    return (type(verdict), verdict.code, verdict.message) if isinstance(verdict, PipelineError) else verdict


def both_ways(content: bytes, checker: Checker, given: Settings, **declared: Any) -> tuple[object, object]:
    """What validate says with what detect found out, and what it says by a call of its own."""
    detected = checker.detect(content, given=given, **declared)
    assert detected.checked is not None
    alone = detected.model_copy(update={"checked": None})
    path = Path(asked(checker, content).path)

    def verdict(of: Detected) -> object:
        found: list[Validated] = []
        error = refusal(lambda: found.append(validate(of, path=path, sandbox=checker.sandbox, settings=given)))
        return words(error) if error else found[0].facts

    return verdict(detected), verdict(alone)


@pytest.mark.parametrize("label", SAMPLES)
def test_validate_says_the_same_with_and_without_a_hop_of_its_own(checker: Checker, label: str) -> None:
    known, anew = both_ways(sample(label), checker, EVERYTHING)
    assert known == anew


@pytest.mark.parametrize(
    ("content", "given", "code"),
    [
        (sample("jpeg/pillow")[:-200], DEFAULTS, Code.BROKEN),
        (hostile.huge_png(), DEFAULTS, Code.TOO_MANY_PIXELS),
        (pdf_by_hand(), settings(max_pages=1), Code.TOO_MANY_PAGES),
        (sample("docm/python-docx"), settings(active_documents="reject"), Code.ACTIVE_CONTENT),
    ],
)
def test_what_the_check_refuses_is_refused_by_validate_and_not_by_detect(
    checker: Checker, content: bytes, given: Settings, code: Code
) -> None:
    known, anew = both_ways(content, checker, given)
    assert isinstance(known, tuple)
    assert known == anew
    assert known[:2] == (PermanentError, code)


def test_validate_needs_no_sandbox_for_what_detect_has_found_out(checker: Checker) -> None:
    box = Sandbox(processes=1, memory_mb=400, cpu_s=5, wall_s=15)
    item = asked(checker, sample("jpeg/pillow"), kind="image")
    detected = detect_many([item], sandbox=box, settings=DEFAULTS)[0]
    box.close()
    assert isinstance(detected, Detected)
    told = Detected.model_validate_json(detected.model_dump_json())  # as it goes through Redis
    assert validate(told, path=Path("/nowhere"), sandbox=box, settings=DEFAULTS).facts.width == 160


def test_a_message_of_an_earlier_version_is_checked_by_a_call(checker: Checker) -> None:
    item = asked(checker, sample("jpeg/pillow"), kind="image")
    old = {"fetched": item.fetched.model_dump(), "kind": "image", "mime": "image/jpeg", "ext": "jpeg", "mismatch": None}
    detected = Detected.model_validate(old)
    assert validate_checked(detected, settings=DEFAULTS) is None
    facts = validate(detected, path=Path(item.path), sandbox=checker.sandbox, settings=DEFAULTS).facts
    assert (facts.width, facts.height) == (160, 120)


def test_what_was_found_out_under_other_limits_is_found_out_anew(checker: Checker) -> None:
    refused = checker.detect(pdf_by_hand(), given=settings(max_pages=1))
    path = Path(asked(checker, pdf_by_hand()).path)
    assert validate(refused, path=path, sandbox=checker.sandbox, settings=DEFAULTS).facts.pages == 2
    let_in = checker.detect(pdf_by_hand())
    with pytest.raises(PermanentError) as caught:
        validate(let_in, path=path, sandbox=checker.sandbox, settings=settings(max_pages=1))
    assert caught.value.code == Code.TOO_MANY_PAGES


FACTS = {"width": 1, "height": 1}
FAULT = {"code": "broken", "message": "ends early"}


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({"name": "jpeg", "kind": "image", "facts": FACTS}, True),
        ({"name": "jpeg", "kind": "image", "fault": FAULT}, True),
        ({"name": "png", "kind": "image", "facts": FACTS}, False),
        ({"name": "jpeg", "kind": "document", "facts": FACTS}, False),
        ({"name": "jpeg", "kind": "image"}, False),
        ({"name": "jpeg", "kind": "image", "facts": FACTS, "fault": FAULT}, False),
        ({"name": "jpeg", "kind": "image", "facts": {"width": "wide"}}, False),
        ({"name": "jpeg", "kind": "image", "fault": {"code": "no such code", "message": ""}}, False),
        ({"name": "jpeg", "kind": "image", "fault": {"code": "broken", "message": "x" * 501}}, False),
        ({"name": [], "kind": {}, "facts": []}, False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_what_a_child_says_of_a_check_is_heeded_only_for_the_type_and_kind_that_were_decided_here(
    said: object, used: bool
) -> None:
    content = {"name": "jpeg", "mime": "image/jpeg", "fault": None, "sound_only": False, "checked": said}
    attachment = Attachment(session="s", message_id="m", kind=Kind.IMAGE)
    found = judge(attachment, Fetched(size=1, sha256="0" * 64), content, DEFAULTS)
    assert (found.checked is not None) is used


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
def test_nothing_is_decoded_that_is_larger_than_its_kind_may_be(
    checker: Checker, declared: str | None, size: int, checked_as: str | None
) -> None:
    path = asked(checker, sample("jpeg/pillow")).path
    said = checker.sandbox.call(EXAMINE, path=path, kind=declared, size=size, limits=rules_from(DEFAULTS).text)
    assert said["name"] == "jpeg"
    assert said.get("checked", {}).get("kind") == checked_as


def test_nothing_is_decoded_that_is_of_no_allowed_type(checker: Checker) -> None:
    path = asked(checker, sample("flac/ffmpeg")).path
    off, on = (
        checker.sandbox.call(EXAMINE, path=path, kind=None, size=1, limits=rules_from(given).text)
        for given in (DEFAULTS, EVERYTHING)
    )
    assert (off["name"], "checked" in off, "checked" in on) == ("flac", False, True)


def test_many_files_have_the_verdicts_that_each_has_alone(checker: Checker) -> None:
    contents = [sample(label) for label in SAMPLES] + list(BAD.values())
    items = [asked(checker, content, kind="document", filename="a.docx") for content in contents]
    alone = [detect_many([item], sandbox=checker.sandbox, settings=DEFAULTS)[0] for item in items]
    assert [*map(words, to_the_end(items, box=checker.sandbox))] == [*map(words, alone)]
    assert len({isinstance(verdict, PipelineError) for verdict in alone}) == 2


def test_one_of_many_that_is_not_there_is_lost_and_the_others_are_not(checker: Checker) -> None:
    here, other = asked(checker, sample("jpeg/pillow")), asked(checker, sample("png/pillow"))
    gone = here._replace(path=str(checker.folder / "gone"), fetched=Fetched(size=700, sha256="1" * 64))
    first, lost, last = to_the_end([here, gone, other], box=checker.sandbox)
    assert isinstance(first, Detected)
    assert isinstance(lost, StagingLostError)
    assert isinstance(last, Detected)


@pytest.fixture
def tight() -> Any:
    box = Sandbox(processes=1, memory_mb=30, cpu_s=5, wall_s=30)
    yield box
    box.close()


def test_file_32_a_check_that_costs_its_process_is_the_verdict_of_validate(checker: Checker, tight: Sandbox) -> None:
    item = asked(checker, black_png((4000, 4000)))
    other = asked(checker, sample("png/pillow"))
    first, second = to_the_end([item, other], box=tight)
    assert isinstance(first, Detected)
    assert (first.mime, first.checked) == ("image/png", None)
    assert isinstance(second, Detected)
    assert second.checked is not None
    with pytest.raises(PermanentError) as caught:
        validate(first, path=Path(item.path), sandbox=tight, settings=DEFAULTS)
    assert caught.value.code == Code.TOO_COSTLY


def test_what_is_still_out_has_its_verdict_when_it_is_asked_for_alone(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PATIENCE_S", 0.0)
    contents = [sample("jpeg/pillow"), black_png((12_000, 4000)), sample("webp/pillow")]
    items = [asked(checker, content) for content in contents]
    found = detect_many(items, sandbox=checker.sandbox, settings=DEFAULTS)
    assert any(isinstance(verdict, StillRunning) for verdict in found)
    assert [v.ext for v in to_the_end(items, box=checker.sandbox) if isinstance(v, Detected)] == ["jpeg", "png", "webp"]


def test_identification_alone_still_decides_nothing_of_the_check(checker: Checker) -> None:
    path = asked(checker, sample("jpeg/pillow")[:-200]).path
    said = checker.sandbox.call(IDENTIFY, path=path, limits=rules_from(DEFAULTS).text)
    assert (said["name"], "checked" in said) == ("jpeg", False)


def test_services_detect_those_that_are_staged_here_and_give_the_others_back_as_lost(tmp_path: Path) -> None:
    tools = build_services(settings(var_dir=tmp_path, sandbox_processes=1))
    tools.staging.folder.mkdir(parents=True)
    work = []
    for name, content in (("a", sample("jpeg/pillow")), ("gone", None), ("b", sample("png/pillow")), ("c", b"")):
        claim = Claim.model_construct(
            token="t", record=SimpleNamespace(id=name), attachment=Attachment(session="s", message_id=name)
        )
        work.append((claim, Fetched(size=len(content or b""), sha256=name * 64)))
        if content is not None:
            (tools.staging.folder / name).write_bytes(content)
    one, lost, other, empty = (tools.detect_many([item])[0] for item in work)
    together = [type(found) for found in tools.detect_many(work)]
    assert together[1::2] == [StagingLostError, PermanentError]
    assert set(together[::2]) <= {Detected, StillRunning}
    assert isinstance(one, Detected)
    assert tools.validate(work[0][0], one).facts.width == 160
    assert isinstance(lost, StagingLostError)
    assert isinstance(other, Detected)
    assert isinstance(empty, PermanentError)
    assert tools.detect_many([]) == []
    tools.close()
