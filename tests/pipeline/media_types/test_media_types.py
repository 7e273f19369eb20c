"""The table of types, and a real file of each type by several producers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import Code, SettingsError
from pipeline.media_types import DECODER_MODULES, MEDIA_TYPES, OFFICE_TYPES, OOXML_TYPES, allowed_types
from pipeline.models import Kind
from tests.support.checking import EVERYTHING, Checker, checker, sandbox, settings
from tests.support.odd_files import ODD
from tests.support.samples import OPTIONAL_TYPES, SAMPLES, media_type_of, sample

__all__ = ["checker", "sandbox"]
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("label", SAMPLES)
def test_a_real_file_is_what_it_is_whoever_made_it(checker: Checker, label: str) -> None:
    row = media_type_of(label)
    found = checker.check(sample(label), given=EVERYTHING).detected
    assert (found.mime, found.ext, found.kind, found.mismatch) == (row.mime, row.ext, row.kinds[0], None)


@pytest.mark.parametrize("label", ODD)
def test_an_odd_file_that_is_valid_is_what_it_is(checker: Checker, label: str) -> None:
    row = media_type_of(label)
    found = checker.check(ODD[label](), given=settings()).detected
    assert (found.mime, found.ext, found.kind, found.mismatch) == (row.mime, row.ext, row.kinds[0], None)


@pytest.mark.parametrize("label", SAMPLES)
def test_a_type_that_is_off_is_let_in_only_by_name(checker: Checker, label: str) -> None:
    row = media_type_of(label)
    declared = {"mimetype": row.mime, "filename": f"x.{row.ext}"}
    assert checker.code(sample(label), **declared) == (None if row.default else Code.TYPE_NOT_ALLOWED)
    assert checker.code(sample(label), given=settings(allowed_types={row.name}), **declared) is None


def test_every_type_has_a_sample_and_the_documented_default() -> None:
    assert {media_type_of(label).name for label in SAMPLES} == set(MEDIA_TYPES)
    assert {row.name for row in MEDIA_TYPES.values() if not row.default} == OPTIONAL_TYPES


@pytest.mark.parametrize("row", MEDIA_TYPES.values(), ids=MEDIA_TYPES)
def test_a_row_is_sound(row: object) -> None:
    found = MEDIA_TYPES[row.name]  # type: ignore[attr-defined]
    module, _, function = found.check.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert module in DECODER_MODULES
    assert all(name == name.lower() for name in found.mimes | found.exts)
    assert Kind.DOCUMENT in found.kinds
    assert len(set(found.kinds)) == len(found.kinds)


def test_mime_and_extension_together_name_one_type() -> None:
    assert len({(row.mime, row.ext) for row in MEDIA_TYPES.values()}) == len(MEDIA_TYPES)


def test_office_types_are_in_the_table() -> None:
    assert set(OOXML_TYPES) <= OFFICE_TYPES <= set(MEDIA_TYPES)


def test_a_type_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_TYPES 'exe'.*avif.*rtf"):
        allowed_types({"avif", "exe"})


def test_allowed_types_add_to_the_defaults_in_any_case() -> None:
    assert allowed_types({"WebM"}) - allowed_types(()) == {"webm"}


def test_the_parent_loads_no_decoder() -> None:
    loaded = "import sys, pipeline.steps.detect, pipeline.steps.validate, pipeline.sandbox; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"av", "PIL", "pypdfium2", "magic", "olefile", "pillow_heif"} & set(modules.stdout.split())
