"""Runs detect and validate on bytes, through the same functions and sandbox as the pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.settings import Settings
from pipeline.errors import Code, PipelineError
from pipeline.media_types import DECODER_MODULES
from pipeline.models import Attachment, Detected, Fetched, Validated
from pipeline.sandbox import Call, Sandbox
from pipeline.steps.detect import StagedFile, detect
from pipeline.steps.validate import validate
from tests.support.samples import OPTIONAL_TYPES

HOSTILE = "tests.support.hostile_decoders"  # imported at the start: a call of another module starts a new child


def settings(**values: Any) -> Settings:
    """Settings with these values and the defaults, whatever .env says."""
    return Settings(_env_file=None, **values)


DEFAULTS = settings()
ALL_TYPES = settings(allowed_types=OPTIONAL_TYPES)


class Checker:
    """Detects and validates bytes in one sandbox; writes them to files in `folder`."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox

    def staged(self, content: bytes, **declared: Any) -> StagedFile:
        """The content as a staged file of an attachment with these declared fields."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder / sha256[:32]
        if not path.exists():
            path.write_bytes(content)
        attachment = Attachment(session="s", message_id="m", **declared)
        return StagedFile(attachment, Fetched(size=len(content), sha256=sha256), str(path))

    def detect(self, content: bytes, *, settings: Settings = DEFAULTS, **declared: Any) -> Detected:
        file = self.staged(content, **declared)
        return detect(file.attachment, file.fetched, path=Path(file.path), sandbox=self.sandbox, settings=settings)

    def check(self, content: bytes, *, settings: Settings = DEFAULTS, **declared: Any) -> Validated:
        """Detects and validates the content."""
        detected = self.detect(content, settings=settings, **declared)
        path = Path(self.staged(content).path)
        return validate(detected, path=path, sandbox=self.sandbox, settings=settings)

    def error_code(self, content: bytes, *, settings: Settings = DEFAULTS, **declared: Any) -> Code | None:
        """Code of the error that refuses the content; None if it is accepted."""
        return error_code_of(lambda: self.check(content, settings=settings, **declared))


class SandboxStub:
    """A sandbox that gives the same answer to every call."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def call_many(self, calls: Sequence[Call], **_: Any) -> list[Any]:
        return [self._answer] * len(calls)

    def distrust(self) -> None:
        """There is no child to replace."""


def error_code_of(function: Callable[[], object]) -> Code | None:
    """Code of the PipelineError that the function raises; None if it returns."""
    error = error_of(function)
    return error.code if error else None


def error_of(function: Callable[[], object]) -> PipelineError | None:
    """The PipelineError that the function raises; None if it returns. Its message must not contain a path."""
    try:
        function()
    except PipelineError as raised:
        error = raised
    else:
        return None
    assert error.message
    assert "/tmp/" not in error.message
    return error


@pytest.fixture(scope="module")
def sandbox() -> Any:
    sandbox = Sandbox(processes=1, memory_mb=400, cpu_s=5, wall_s=15, preload=(*DECODER_MODULES, HOSTILE))
    yield sandbox
    sandbox.close()


@pytest.fixture
def checker(tmp_path: Path, sandbox: Sandbox) -> Checker:
    return Checker(tmp_path, sandbox)
