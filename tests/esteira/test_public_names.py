"""The public names of the package `esteira`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import esteira

NAMES = ["Attachment", "PayloadError", "Receipt", "RetryableError", "parse_attachment", "process_media"]


def run_python(code: str) -> str:
    """The output of the code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout


def test_all_and_dir_list_the_public_names() -> None:
    assert sorted(esteira.__all__) == NAMES
    assert dir(esteira) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_imported_on_first_use(name: str) -> None:
    assert getattr(esteira, name).__name__ == name


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'esteira' has no attribute 'process_medium'"):
        esteira.process_medium  # noqa: B018


def test_import_of_the_package_is_lazy() -> None:
    code = "import sys, esteira; print([name for name in ('pydantic', 'redis', 'sqlalchemy') if name in sys.modules])"
    assert run_python(code) == "[]\n"


def test_process_media_can_be_imported_in_a_fresh_process() -> None:
    code = "import sys; from esteira import process_media; print(process_media.__name__, 'actors.hook' in sys.modules)"
    assert run_python(code) == "process_media False\n"
