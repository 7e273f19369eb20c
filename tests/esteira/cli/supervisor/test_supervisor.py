"""The supervisor: parts that die are started again, and all are stopped in order."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part import MAX_DELAY_S, STEADY_S, Part, Running, restart_delay_s
from esteira.cli.supervisor.part_lines import text_line
from esteira.cli.supervisor.supervisor import described
from tests.support.waiting import wait_until

RUN = """
import json, os, sys
from esteira.cli.supervisor import part
from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part_lines import text_line
from esteira.cli.supervisor.supervisor import Supervisor

part.GRACE_S = 10
printer = LinePrinter(text_line)
with Supervisor(printer, lambda text, level: printer.print("start", text)) as supervisor:
    first, second = (
        [part.command_part(name, lambda command=command: command, os.environ) for name, command in group.items()]
        for group in json.loads(sys.argv[1])
    )
    supervisor.start(*first)
    supervisor.run(*second, on_started=lambda: printer.print("start", "all started"))
print("ended in order", flush=True)
"""
RUN_WITHOUT_PROCESSES = RUN.replace(
    "    supervisor.start(*first)",
    """
    launch, starts = second[0]._launch, []

    def fail_once():
        starts.append(1)
        if len(starts) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return launch()

    second[0]._launch = fail_once
    supervisor.start(*first)""",
)
STEADY = ["sleep", "60"]


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


class Supervised:
    """A supervisor in a process of its own, whose output is collected in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, *numbers: signal.Signals) -> int:
        for number in numbers or (signal.SIGTERM,):
            self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def supervised(
    folder: Path, parts: dict[str, list[str]], *, earlier: dict[str, list[str]] | None = None, script: str = RUN
) -> Iterator[Supervised]:
    log = folder / "supervisor.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", script, json.dumps([earlier or {}, parts])], stdout=out, stderr=out
        )
    running = Supervised(process, log)
    try:
        wait_until(lambda: "all started" in running.output)
        yield running
    finally:
        process.kill()
        process.wait()


def test_part_that_dies_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    parts = {"steady": shell("echo my id $$; exec sleep 60"), "brief": shell("echo working; exit 3")}
    with supervised(tmp_path, parts) as running:
        wait_until(lambda: running.output.count("| working") >= 3, within_s=20)
        assert running.output.count("| my id") == 1
        assert "brief ended by itself (exit status 3); it is started again at once" in running.output
        assert "it is started again in 1 s" in running.output
        assert running.stop() == 0
        assert "ended in order" in running.output


def test_killed_part_is_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path, {"part": shell("echo my id $$; exec sleep 60")}) as running:
        wait_until(lambda: "my id" in running.output)
        os.kill(int(running.output.partition("my id ")[2].split()[0]), signal.SIGKILL)
        wait_until(lambda: running.output.count("my id") == 2, within_s=20)
        assert "part ended by itself (killed by SIGKILL)" in running.output


def test_parts_that_were_started_first_are_stopped_last(tmp_path: Path) -> None:
    def part(name: str, stop_s: float) -> list[str]:
        trap = f"trap 'sleep {stop_s}; echo {name} is gone; exit 0' TERM"
        return shell(f"{trap}; echo {name} is ready; while :; do sleep 0.05; done")

    with supervised(tmp_path, {"user": part("user", 1)}, earlier={"server": part("server", 0)}) as running:
        wait_until(lambda: running.output.count("is ready") == 2)
        assert running.stop(signal.SIGTERM, signal.SIGTERM, signal.SIGHUP) == 0
        assert running.output.index("user is gone") < running.output.index("server is gone")
        assert "ended in order" in running.output
        assert "ended by itself" not in running.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_lets_every_part_finish(tmp_path: Path, number: signal.Signals) -> None:
    trap = f"trap 'sleep 0.5; touch {tmp_path}/finished; exit 0' TERM"
    with supervised(tmp_path, {"careful": shell(f"{trap}; echo ready; while :; do sleep 0.05; done")}) as running:
        wait_until(lambda: "| ready" in running.output)
        assert running.stop(number) == 0
        assert (tmp_path / "finished").exists()


def test_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with supervised(tmp_path, {"stubborn": shell("trap '' TERM; echo ready; while :; do sleep 0.05; done")}) as running:
        wait_until(lambda: "| ready" in running.output)
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert running.process.poll() is None
        assert running.stop(signal.SIGINT) == 0


def test_signal_while_a_part_waits_for_its_restart_ends_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, {"brief": ["false"]}) as running:
        wait_until(lambda: "again in 2 s" in running.output, within_s=20)
        assert running.stop() == 0


def test_part_that_cannot_be_started_again_is_tried_later(tmp_path: Path) -> None:
    parts = {"brief": shell("echo here; exit 1"), "other": STEADY}
    with supervised(tmp_path, parts, script=RUN_WITHOUT_PROCESSES) as running:
        wait_until(lambda: "brief cannot be started" in running.output, within_s=20)
        wait_until(lambda: running.output.count("| here") == 2, within_s=20)
        assert "other ended by itself" not in running.output
        assert running.stop() == 0


def test_closed_output_changes_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "still at work"
    parts = {"talker": shell(f"for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done; touch '{marker}'; sleep 60")}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps([{}, parts])], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    wait_until(marker.exists)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=20)


def test_unread_output_stops_no_part(tmp_path: Path) -> None:
    marker = tmp_path / "wrote everything"
    parts = {"talker": shell(f"seq 100000; touch '{marker}'; sleep 60")}
    process = subprocess.Popen([sys.executable, "-c", RUN, json.dumps([{}, parts])], stdout=subprocess.PIPE)
    try:
        wait_until(marker.exists, within_s=30)
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=20)
    assert b"lines were dropped, because stdout took none" in out


def test_output_that_does_not_block_is_written_when_it_is_read_again() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    printer = LinePrinter(text_line, output=writer)
    with open(reader, "rb") as lines:
        for number in range(5000):  # more than the pipe takes
            printer.print("web", f"line {number}")
        time.sleep(0.2)
        assert [lines.readline().split()[-1] for _ in range(5000)] == [b"%d" % number for number in range(5000)]
    printer.close()
    os.close(writer)


def test_last_line_of_a_part_is_written_although_its_reader_is_late(tmp_path: Path) -> None:
    class LateStream(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            time.sleep(0.3)
            return super().readline(size)

    output = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    printer = LinePrinter(lambda _part, line, _at, _colour: line, output=output)
    printer.follow("web", LateStream(b"the last line\n"))
    printer.close()
    os.close(output)
    assert (tmp_path / "log").read_text() == "the last line\n"


def test_lines_are_written_again_after_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    room = [10]  # bytes that are free
    write = os.write

    def limited(descriptor: int, data: bytes) -> int:
        if not (free := min(room[0], len(data))):
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= free
        return write(descriptor, data[:free])

    monkeypatch.setattr("esteira.cli.supervisor.line_printer.os.write", limited)
    printer = LinePrinter(lambda _part, line, _at, _colour: line, output=output)
    for line in ("the first line is cut", "the second line"):
        printer.print("web", line)
    wait_until(lambda: printer._dropped == 2)
    room[0] = 1_000_000
    printer.print("web", "the third line")
    printer.close()
    os.close(output)
    lost = "2 lines were dropped, because stdout took none"
    assert log.read_text().splitlines() == ["the first ", lost, "the third line"]


def test_restarts_become_rarer_and_recover() -> None:
    assert [restart_delay_s(deaths) for deaths in (1, 2, 3, 6, 7, 1000)] == [0, 1, 2, 16, MAX_DELAY_S, MAX_DELAY_S]
    part = Part("part", lambda: Running(subprocess.Popen(["true"])))
    delays = []
    for lived_s in (0.1, 0.1, STEADY_S, 0.1):
        running = part.launch()
        part.use(running, 1000.0)
        running.close()
        delays.append(part.plan_restart(1000.0 + lived_s))
    assert delays == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (3, "exit status 3"),
        (-9, "killed by SIGKILL"),
        (143, "killed by SIGTERM"),
        (255, "exit status 255"),
    ],
)
def test_exit_status_is_described(status: int, text: str) -> None:
    assert described(status) == text
