"""A child that cannot be confined decodes nothing, unless the confinement is best-effort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.settings import load_settings
from pipeline.errors import Code, RetryableError, SettingsError
from pipeline.media_types import DECODER_MODULES, MEDIA_TYPES, PREVIEW_MODULES
from pipeline.media_types.decoding import decoding_sandbox
from pipeline.media_types.limits import rules_from
from pipeline.sandbox import Sandbox
from pipeline.sandbox.terms import LAYERS, unconfined_error, unprivileged_user
from tests.support.checking import ALL_TYPES
from tests.support.samples import SAMPLES, sample

ROOT = Path(__file__).parents[3]
ECHO = "tests.support.hostile_decoders:echo"
PROGRAM = f"""
import sys
from pipeline.errors import PipelineError
from pipeline.sandbox import Sandbox, confinement
from tests.support.attacked_parent import forbid
forbid(sys.argv[1])
box = Sandbox(processes=1, memory_mb=200, cpu_s=5, wall_s=20, terms=confinement(strict=sys.argv[2] == "strict"))
try:
    print(box.call("{ECHO}", decoded="yes"))
except PipelineError as error:
    print(type(error).__name__, error)
"""


def decoded(forbidden: str, confinement: str) -> str:
    """What a call ends with in a process that may not make this system call."""
    command = [sys.executable, "-c", PROGRAM, forbidden, confinement]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return finished.stdout.strip() or finished.stderr


LAYER_OF = {"landlock": "landlock", "seccomp": "seccomp", "user": "user"}
FORBIDDEN = [
    "landlock",
    "seccomp",
    pytest.param("user", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")),
]


@pytest.mark.parametrize("forbidden", FORBIDDEN)
def test_a_child_without_a_required_layer_decodes_nothing(forbidden: str) -> None:
    ending = decoded(forbidden, "strict")
    assert ending.startswith("RetryableError internal: a decoder process ")
    assert LAYERS[LAYER_OF[forbidden]] in ending
    assert "SANDBOX_CONFINEMENT=best-effort" in ending


@pytest.mark.parametrize("forbidden", FORBIDDEN)
def test_best_effort_decodes_without_a_layer(forbidden: str) -> None:
    assert decoded(forbidden, "best-effort") == "{'decoded': 'yes'}"


def test_namespaces_are_not_required() -> None:
    assert decoded("unshare", "strict") == "{'decoded': 'yes'}"


def test_the_error_of_an_unconfined_child_contains_nothing_of_its_own() -> None:
    error = unconfined_error("API_TOKEN=secret", "words")
    assert isinstance(error, RetryableError)
    assert (error.code, "secret" in error.message, "words" in error.message) == (Code.INTERNAL, False, False)


@pytest.mark.parametrize(
    ("user", "ids"), [("65534", (65534, 65534)), ("1000:2000", (1000, 2000)), ("nobody", None), (None, None)]
)
def test_sandbox_user_is_a_name_or_ids(user: str | None, ids: tuple[int, int] | None) -> None:
    assert unprivileged_user(user) == ids if ids else 0 not in unprivileged_user(user)


@pytest.mark.parametrize("user", ["root", "0", "1000:0", "no-such-user-here", "1:2:3", "4294967295"])
def test_a_wrong_sandbox_user_is_a_setting_error(user: str) -> None:
    with pytest.raises(SettingsError, match="SANDBOX_USER"):
        unprivileged_user(user)


@pytest.mark.skipif(os.geteuid() != 0, reason="the setting is used by root")
def test_a_wrong_sandbox_user_is_found_at_the_start() -> None:
    with pytest.raises(SettingsError, match="SANDBOX_USER"):
        decoding_sandbox(load_settings(_env_file=None, sandbox_user="root"))


@pytest.mark.parametrize("preview", [False, True])
def test_decoders_import_nothing_after_the_confinement(tmp_path: Path, preview: bool) -> None:
    modules = PREVIEW_MODULES if preview else DECODER_MODULES
    sandbox = Sandbox(
        processes=1, memory_mb=1000, cpu_s=10, wall_s=60, preload=(*modules, "tests.support.hostile_decoders")
    )
    before = sandbox.call("tests.support.hostile_decoders:modules")
    limits = rules_from(ALL_TYPES).limits_json
    for label in SAMPLES:
        file = tmp_path / label.replace("/", "-")
        file.write_bytes(sample(label))
        media_type = MEDIA_TYPES.get(label.partition("/")[0])
        if not preview:
            sandbox.call("pipeline.media_types.examine:examine", file=str(file), kind=None, size=1, limits=limits)
        elif media_type and media_type.preview:
            sandbox.call(media_type.preview, file=str(file), name=media_type.name, limits=limits)
    assert set(sandbox.call("tests.support.hostile_decoders:modules")) == set(before)
    sandbox.close()
