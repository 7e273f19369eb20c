"""Media servers of a stranger that answer slowly, to hold the threads of the workers. Each public function is a round.

The stranger writes to one session; the load of the other sessions goes on. A hook that is refused, or a file of the
others that takes longer than OTHERS_S, is a problem of the round.
"""

from __future__ import annotations

import time

from scripts.faults.environment import SkippedError, Testbed
from scripts.faults.esteira import Esteira
from scripts.faults.files import SLOW, File
from scripts.faults.load import REFUSED
from scripts.faults.times import percentile
from tests.support.hostile_server import HostileServer, Peer, head

FILES_OF_EACH_KIND = 2
SECONDS = 20.0  # of one round
OTHERS_S = 10.0
DROPS: dict[str, tuple[bytes, bytes]] = {  # label: what a server sends at first, and then again and again
    "silent": (b"", b""),
    "head": (head()[:-2], b"A: b\r\n"),
    "body": (head("Content-Length: 999999"), b"x"),
    "extensions": (head("Transfer-Encoding: chunked"), b"1;" + b"x" * 60_000 + b"\r\nx\r\n"),
}
SHORT_DEADLINES = {"FETCH_DEADLINE_S": "5", "FETCH_READ_TIMEOUT_S": "3"}


def answer_slowly(testbed: Testbed, _round_number: int) -> None:
    """Hands over files whose servers hold each connection in one of four ways."""
    target = testbed.target
    if not isinstance(target, Esteira):
        raise SkippedError("needs the sessions of Esteira")
    began = time.time()
    with HostileServer(_drip) as server:
        target.slow_media = server.url("/")
        kinds = ("image", "document")
        testbed.load.send_files(
            [File(number, SLOW, label, kinds[number % 2]) for label in DROPS for number in range(FILES_OF_EACH_KIND)]
        )
        time.sleep(SECONDS)
        connections = server.connections
    _report(testbed, began, connections)


def _drip(peer: Peer) -> None:
    label = peer.request().split(b" ")[1].partition(b"?")[0].decode().strip("/")
    first, drop = DROPS[label]
    peer.send(first)
    while True:
        peer.wait(0.2)
        peer.send(drop)


def _report(testbed: Testbed, began: float, connections: int) -> None:
    now, load = time.time(), testbed.load
    attempts = [attempt for attempt in load.attempts if attempt.at >= began]
    refused = sum(attempt.answer.outcome == REFUSED for attempt in attempts)
    rows = [row for row in testbed.target.rows(testbed) if row.received_at >= began]
    others = [row for row in rows if row.number in load.files and load.files[row.number].category != SLOW]
    took = [(row.finished_at or now) - row.received_at for row in others]
    hook_p99 = percentile([attempt.took_s for attempt in attempts], 99)
    text = f"{connections} slow connections: hooks p99 {hook_p99} s, files of others p50 {percentile(took, 50)} s"
    testbed.observations.figures.append(f"{text}, p99 {percentile(took, 99)} s")
    late = sum(seconds > OTHERS_S for seconds in took)
    if refused or late or not took or not connections:
        testbed.observations.problems.append(f"{refused} hooks refused, {late} of {len(took)} files of others late")
