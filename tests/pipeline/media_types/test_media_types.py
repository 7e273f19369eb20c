"""The table of media types, and sample files of each type by several producers."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import Code, SettingsError
from pipeline.media_types import DECODER_MODULES, MEDIA_TYPES, OFFICE_TYPES, OOXML_TYPES, MediaType, allowed_types
from pipeline.models import Kind, Validated
from tests.support.checking import ALL_TYPES, Checker, checker, error_of, sandbox, settings
from tests.support.odd_files import ODD
from tests.support.samples import OPTIONAL_TYPES, SAMPLES, media_type_of, sample

__all__ = ["checker", "sandbox"]
ROOT = Path(__file__).parents[3]


def assert_identified(validated: Validated, label: str) -> None:
    """Checks type and kind of a file whose sender declared nothing."""
    detected, expected = validated.detected, media_type_of(label)
    assert (detected.mime, detected.ext, detected.kind) == (expected.mime, expected.ext, expected.kinds[0])
    assert detected.mismatch is None


@pytest.mark.parametrize("label", SAMPLES)
def test_samples_of_every_producer_are_identified(checker: Checker, label: str) -> None:
    assert_identified(checker.check(sample(label), settings=ALL_TYPES), label)


@pytest.mark.parametrize("label", ODD)
def test_valid_odd_files_are_identified(checker: Checker, label: str) -> None:
    assert_identified(checker.check(ODD[label]()), label)


@pytest.mark.parametrize("label", SAMPLES)
def test_an_optional_type_is_accepted_only_if_allowed_types_names_it(checker: Checker, label: str) -> None:
    media_type = media_type_of(label)
    declared = {"mimetype": media_type.mime, "filename": f"x.{media_type.ext}"}
    by_default = None if media_type.default else Code.TYPE_NOT_ALLOWED
    assert checker.error_code(sample(label), **declared) == by_default
    assert checker.error_code(sample(label), settings=settings(allowed_types={media_type.name}), **declared) is None


@pytest.mark.parametrize("name", sorted(OPTIONAL_TYPES))
def test_the_refusal_of_an_optional_type_says_what_to_add_to_allowed_types(checker: Checker, name: str) -> None:
    content = sample(next(label for label in SAMPLES if media_type_of(label).name == name))
    advice = f"{MEDIA_TYPES[name].mime} is not accepted; add {name} to ALLOWED_TYPES to accept it"
    media_type = MEDIA_TYPES[name]
    for declared in ({}, {"mimetype": media_type.mime, "filename": f"x.{media_type.ext}"}, {"filename": "a.jpg"}):
        error = error_of(lambda declared=declared: checker.check(content, **declared))
        assert error is not None
        assert (error.code, error.message) == (Code.TYPE_NOT_ALLOWED, advice)


def test_an_optional_type_declared_as_an_office_document_names_what_accepts_it(checker: Checker) -> None:
    error = error_of(lambda: checker.check(sample("xml/utf-8"), filename="nota.doc"))
    assert error is not None
    expected = "declared as doc, but is application/xml; add xml to ALLOWED_TYPES to accept it"
    assert (error.code, error.message) == (Code.TYPE_MISMATCH, expected)


def test_a_refused_mismatch_names_the_setting(checker: Checker) -> None:
    strict = settings(mismatch="reject")
    error = error_of(lambda: checker.check(sample("png/pillow"), settings=strict, filename="a.jpg"))
    assert error is not None
    assert error.message == "named .jpg, is .png; MISMATCH=correct accepts it as what it is"


def test_every_type_has_a_sample_and_its_documented_default() -> None:
    assert {media_type_of(label).name for label in SAMPLES} == set(MEDIA_TYPES)
    assert {name for name, media_type in MEDIA_TYPES.items() if not media_type.default} == OPTIONAL_TYPES


@pytest.mark.parametrize("media_type", MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_media_type_rows_are_consistent(media_type: MediaType) -> None:
    module, _, function = media_type.check.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert module in DECODER_MODULES
    assert all(name == name.lower() for name in media_type.mimes | media_type.exts)
    assert Kind.DOCUMENT in media_type.kinds
    assert len(set(media_type.kinds)) == len(media_type.kinds)


def test_mime_and_extension_identify_one_type() -> None:
    assert len({(media_type.mime, media_type.ext) for media_type in MEDIA_TYPES.values()}) == len(MEDIA_TYPES)


def test_office_types_are_in_the_table() -> None:
    assert set(OOXML_TYPES) <= OFFICE_TYPES <= set(MEDIA_TYPES)


@pytest.mark.parametrize("page", [".env.example", "docs/types.md"])
def test_the_documents_list_the_types_on_request(page: str) -> None:
    text = re.sub(r"\([^)]*\)", "", (ROOT / page).read_text())
    start = text.index("`avif`" if page.endswith(".md") else "avif,")
    listed = re.findall(r"[a-z0-9]+", text[start : text.index(".", start)])
    assert set(listed) == OPTIONAL_TYPES


def test_an_unknown_allowed_type_is_reported_with_the_optional_types() -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_TYPES 'exe'.*avif.*rtf"):
        allowed_types({"avif", "exe"})


def test_allowed_types_add_to_the_defaults_and_ignore_case() -> None:
    assert allowed_types({"WebM"}) - allowed_types(()) == {"webm"}


def test_the_parent_process_imports_no_decoder() -> None:
    loaded = "import sys, pipeline.steps.detect, pipeline.steps.validate, pipeline.sandbox; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"av", "PIL", "pypdfium2", "magic", "olefile", "pillow_heif"} & set(modules.stdout.split())
