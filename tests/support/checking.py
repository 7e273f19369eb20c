"""Detect and validate on bytes at hand, the way the belt calls them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings
from pipeline.errors import Code, PipelineError
from pipeline.media_types import DECODER_MODULES
from pipeline.models import Attachment, Detected, Fetched, Validated
from pipeline.sandbox import Sandbox
from pipeline.steps.detect import detect
from pipeline.steps.validate import validate
from tests.support.samples import OPTIONAL_TYPES


def settings(**given: Any) -> Settings:
    """Settings that no environment touches."""
    return Settings(_env_file=None, **given)


EVERYTHING = settings(allowed_types=OPTIONAL_TYPES)


class Checker:
    """Checks bytes in one sandbox; files lie in `folder`."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox

    def detect(self, content: bytes, *, given: Settings | None = None, **declared: Any) -> Detected:
        path = self._path(content)
        attachment = Attachment(session="s", message_id="m", **declared)
        fetched = Fetched(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        return detect(attachment, fetched, path=path, sandbox=self.sandbox, settings=given or settings())

    def check(self, content: bytes, *, given: Settings | None = None, **declared: Any) -> Validated:
        detected = self.detect(content, given=given, **declared)
        return validate(detected, path=self._path(content), sandbox=self.sandbox, settings=given or settings())

    def code(self, content: bytes, *, given: Settings | None = None, **declared: Any) -> Code | None:
        """The code of the refusal, or None if the content is accepted."""
        return code_of(lambda: self.check(content, given=given, **declared))

    def _path(self, content: bytes) -> Path:
        path = self.folder / hashlib.sha256(content).hexdigest()[:32]
        if not path.exists():
            path.write_bytes(content)
        return path


def code_of(work: Callable[[], object]) -> Code | None:
    """The code of the error that this work ends with, or None."""
    error = refusal(work)
    return error.code if error else None


def refusal(work: Callable[[], object]) -> PipelineError | None:
    """The error that this work ends with, or None. No message may tell a path of this machine."""
    try:
        work()
    except PipelineError as error:
        found = error
    else:
        return None
    assert found.message
    assert "/tmp/" not in found.message
    return found


@pytest.fixture(scope="module")
def sandbox() -> Any:
    box = Sandbox(processes=1, memory_mb=400, cpu_s=5, wall_s=15, preload=DECODER_MODULES)
    yield box
    box.close()


@pytest.fixture
def checker(tmp_path: Path, sandbox: Sandbox) -> Checker:
    return Checker(tmp_path, sandbox)
