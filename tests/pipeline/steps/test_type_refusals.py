"""The step detect: the words of refusals say what differs, and never contradict the declaration or the settings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.media_types import MEDIA_TYPES, OFFICE_TYPES
from pipeline.media_types.answers import KNOWN_MIMES
from pipeline.media_types.office.opc import BINARY_WORKBOOK, MAIN_TYPES, OTHER_PACKAGES
from pipeline.models import Attachment, Fetched
from pipeline.sandbox import Reason, Refusal
from pipeline.steps.detect import StagedFile, detect_many
from tests.support import compound_files as office
from tests.support.checking import ALL_TYPES, Checker, SandboxStub, checker, error_of, sandbox, settings

__all__ = ["checker", "sandbox"]

DEFAULT = settings()
FAULTS = [Refusal(reason).answer for reason in (Reason.ZIP_ENCRYPTED, Reason.OPC_NO_MAIN, Reason.OLD_POWERPOINT)]
SAYS = re.compile(r"(?:but is |^)(?P<mime>[a-z]+/[a-z0-9.+-]+)")  # what a message says that the content is


def refused(mime: str, *, fault: list[Any] | None = None, **declared: str) -> PipelineError:
    """The error for content of no type in the table, which libmagic takes for this one."""
    attachment = Attachment(session="s", message_id="m", **declared)
    content = {"name": None, "mime": mime, "fault": fault, "sound_only": False}
    file = StagedFile(attachment, Fetched(size=1, sha256="0" * 64), "/nowhere")
    [result] = detect_many([file], sandbox=SandboxStub(content), settings=DEFAULT)
    assert isinstance(result, PipelineError)
    return result


@given(
    mime=st.sampled_from(sorted(KNOWN_MIMES)),
    fault=st.sampled_from([None, *FAULTS]),
    declared=st.sampled_from(["", *MEDIA_TYPES]),
)
def test_no_refusal_says_that_content_is_of_an_accepted_or_the_declared_type(
    mime: str, fault: list[Any] | None, declared: str
) -> None:
    fields = {"filename": f"a.{MEDIA_TYPES[declared].ext}", "mimetype": MEDIA_TYPES[declared].mime} if declared else {}
    error = refused(mime, fault=fault, **fields)
    for said in SAYS.finditer(error.message):
        accepted = {other for row in MEDIA_TYPES.values() if row.default for other in row.mimes}
        assert said["mime"] not in accepted, error.message
        assert not declared or said["mime"] not in MEDIA_TYPES[declared].mimes, error.message


@pytest.mark.parametrize("name", sorted(OFFICE_TYPES))
def test_content_that_only_looks_like_the_declared_type_is_refused_with_the_difference(name: str) -> None:
    mime = MEDIA_TYPES[name].mime
    error = refused(mime, filename=f"a.{name}")
    assert error.code == Code.TYPE_MISMATCH
    assert error.message == f"declared as {name}; it looks like {mime}, but has another structure"
    assert refused(mime, fault=FAULTS[0], filename=f"a.{name}").message == Reason.ZIP_ENCRYPTED.text


PACKAGES = {**MAIN_TYPES, **OTHER_PACKAGES}


@pytest.mark.parametrize("content_type", PACKAGES)
def test_every_kind_of_package_is_accepted_or_refused_by_its_own_name(checker: Checker, content_type: str) -> None:
    is_binary = content_type == BINARY_WORKBOOK
    content = office.binary_workbook() if is_binary else office.package(main=content_type)
    found = PACKAGES[content_type]
    if found in MEDIA_TYPES:
        assert checker.check(content, settings=ALL_TYPES).detected.ext == found
    mime = MEDIA_TYPES[found].mime if found in MEDIA_TYPES else found
    other = "docx" if found != "docx" else "xlsx"
    if found in MEDIA_TYPES and MEDIA_TYPES[found].default:
        assert checker.detect(content, filename=f"a.{other}").mismatch == f"named .{other}, is .{found}"
        return
    error = error_of(lambda: checker.check(content, filename=f"a.{other}"))
    assert error is not None
    assert error.code == Code.TYPE_MISMATCH
    assert error.message.startswith(f"declared as {other}, but is {mime}")
    assert error.message.endswith(f"add {found} to ALLOWED_TYPES to accept it" if found in MEDIA_TYPES else mime)
