"""Foreign code in a decoder reads nothing, reaches nothing and does no harm, and its words are not passed on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import Code, PermanentError
from pipeline.sandbox import Call, Sandbox
from pipeline.steps.detect import detect_many
from tests.support.checking import DEFAULTS, Checker
from tests.support.samples import sample
from tests.support.sandbox_attacks import ATTACKS

MODULE = "tests.support.sandbox_attacks"
ROOT = Path(__file__).parents[3]
THREADS_WITHOUT_NAMESPACES = 4096  # the limit counts all processes of the user
MEMORY_MB = 200  # of one call in the attacked process

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
PARENTS = [
    pytest.param((), id="this user"),
    pytest.param(("no-namespaces",), id="this user, no namespaces"),
    pytest.param(("nobody",), id="nobody", marks=needs_root),
    pytest.param(("nobody", "no-namespaces"), id="nobody, no namespaces", marks=needs_root),
]


@cache
def gains(options: tuple[str, ...]) -> dict[str, Any]:
    """What each attack gained in a child of a process with these options (see attacked_parent)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-m", "tests.support.attacked_parent", folder, *options]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert finished.stdout, finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


@pytest.mark.parametrize("options", PARENTS)
@pytest.mark.parametrize("attack", [*(attack.__name__ for attack in ATTACKS), "own_file"])
def test_an_attack_gains_nothing(options: tuple[str, ...], attack: str) -> None:
    assert gains(options)[attack] == []


@pytest.mark.parametrize("options", PARENTS)
def test_an_attack_harms_no_other_process_and_no_file(options: tuple[str, ...]) -> None:
    result = gains(options)
    assert (result["victim"], result["heard"], result["files_changed"]) == (None, False, [])


@pytest.mark.parametrize("options", PARENTS)
def test_threads_and_memory_of_an_attack_are_limited(options: tuple[str, ...]) -> None:
    result = gains(options)
    assert result["threads"] < (THREADS_WITHOUT_NAMESPACES if "no-namespaces" in options else 32)
    assert MEMORY_MB // 2 < result["much_memory"] <= 2 * MEMORY_MB


PARENT_OF_A_SURVIVOR = f"""
import threading, time
from pipeline.sandbox import Call, Sandbox
box = Sandbox(processes=1, memory_mb=200, cpu_s=30, wall_s=60, preload=["{MODULE}", "tests.support.hostile_decoders"])
print(box.call("tests.support.hostile_decoders:pid"), flush=True)
threading.Thread(target=lambda: box.call("{MODULE}:survive"), daemon=True).start()
time.sleep(60)
"""


def test_a_child_that_ignores_signals_and_closes_its_files_ends_with_its_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT_OF_A_SURVIVOR]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        began = child.cpu_times().user
        deadline = time.monotonic() + 20
        while child.cpu_times().user < began + 0.3:  # it has closed what it can, and works
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=3)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(processes=1, memory_mb=200, cpu_s=2, wall_s=10, preload=[MODULE])
    yield sandbox
    sandbox.close()


def test_a_child_that_closes_its_answers_is_a_crash(sandbox: Sandbox) -> None:
    with pytest.raises(PermanentError) as caught:
        sandbox.call(f"{MODULE}:close_everything")
    assert caught.value.code == Code.DECODER_CRASH


SECRET = "API_TOKEN=hunter2-hunter2"
LIES = {
    "words": SECRET,
    "an error of the old form": json.dumps({"error": {"code": "broken", "permanence": "permanent", "message": SECRET}}),
    "a refusal in words": json.dumps({"refusal": SECRET}),
    "a reason of its own": json.dumps({"refusal": [SECRET, {}]}),
    "fields of its own": json.dumps({"refusal": ["NO_PIXELS", {"text": SECRET}]}),
    "words for a number": json.dumps({"refusal": ["TOO_MANY_PAGES", {"pages": SECRET, "allowed": 1}]}),
    "words for a value": json.dumps({"refusal": ["NOT_DECODABLE", {"form": SECRET}]}),
    "a truth for a number": json.dumps({"refusal": ["TOO_MANY_PAGES", {"pages": True, "allowed": 1}]}),
    "a huge number": json.dumps({"refusal": ["TOO_MANY_PAGES", {"pages": 10**300, "allowed": 1}]}),
    "a number of many digits": '{"refusal": ["TOO_MANY_PAGES", {"pages": 9*, "allowed": 1}]}',
    "not a number": '{"refusal": ["TOO_MANY_PAGES", {"pages": NaN, "allowed": 1}]}',
    "infinity": '{"refusal": ["TOO_MANY_PAGES", {"pages": 1e999, "allowed": 1}]}',
    "nested lists": '{"refusal": [*]}',
    "nested objects": '{"refusal": {"a":*',
    "no object": "[]",
    "no text": "\udcff\udcfe",
    "many lines": "{}\n" * 1000,
    "a long line": "x*x*",
    "another key": json.dumps({"result": None, "words": SECRET}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_an_invalid_reply_without_its_words(sandbox: Sandbox, lie: str) -> None:
    with pytest.raises(PermanentError) as caught:
        sandbox.call(f"{MODULE}:lie", words=LIES[lie])
    assert caught.value.code == Code.DECODER_CRASH
    assert "hunter2" not in str(caught.value)


IDENTIFIED = {"name": "gif", "mime": "image/gif", "fault": None, "sound_only": False}
CHECKED = {"name": "gif", "kind": "image"}


@pytest.mark.parametrize(
    "answer",
    [
        SECRET,
        None,
        [],
        {},
        IDENTIFIED | {"name": SECRET},
        IDENTIFIED | {"mime": None},
        IDENTIFIED | {"sound_only": SECRET},
        IDENTIFIED | {"fault": {"code": "broken", "message": SECRET}},
        IDENTIFIED | {"checked": CHECKED | {"fault": SECRET}},
        IDENTIFIED | {"checked": CHECKED | {"fault": ["NO_PIXELS", {"words": SECRET}]}},
        IDENTIFIED | {"checked": SECRET},
    ],
)
def test_a_lying_identification_is_an_invalid_reply(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    error = detected_by_liar(sandbox, tmp_path, monkeypatch, answer)
    assert isinstance(error, PermanentError)
    assert (error.code, error.message) == (Code.DECODER_CRASH, "the decoder process sent an invalid reply")


def test_a_made_up_mime_type_is_not_shown(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = detected_by_liar(sandbox, tmp_path, monkeypatch, IDENTIFIED | {"name": None, "mime": f"image/{SECRET}"})
    assert isinstance(error, PermanentError)
    assert (error.code, error.message) == (Code.TYPE_NOT_ALLOWED, "application/octet-stream is not accepted")


def test_a_child_with_an_impossible_result_is_replaced(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sandbox.call(f"{MODULE}:pid")
    detected_by_liar(sandbox, tmp_path, monkeypatch, IDENTIFIED | {"name": SECRET})
    assert sandbox.call(f"{MODULE}:pid") != first


def detected_by_liar(sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch, answer: object) -> object:
    """What detect makes of a child that answers this instead of identifying the file."""
    monkeypatch.setattr("pipeline.steps.detect._call", lying_call(answer))
    file = Checker(folder, sandbox).staged(sample("gif/pillow"))
    return detect_many([file], sandbox=sandbox, settings=DEFAULTS)[0]


def lying_call(answer: object) -> Any:

    return lambda file: Call(f"{MODULE}:claim", {"answer": answer}, file=file.path)
