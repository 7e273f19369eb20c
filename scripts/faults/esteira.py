"""Esteira from outside: `dramatiq actors.stages` for the work, the web app's hook for the intake."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from pipeline.catalogue import Catalogue
from scripts.faults.environment import ROOT, THREADS, WORKERS, Testbed
from scripts.faults.files import File
from scripts.faults.leftovers import Row, StoredFiles, esteira_deliveries, esteira_rows, esteira_stored_files
from scripts.faults.load import ACCEPTED, REFUSED, UNKNOWN, Answer
from scripts.faults.supervisor import Part
from tests.support.valkey import free_port

PATIENCE_S = 60.0  # how long a client waits for the hook's answer
INLINE = 6  # every sixth file comes as base64
# The source by a name that scripts.faults.dns_faults knows; each time by another one, for to a host that it has a
# connection to, a worker goes without asking for its address.
HOST = "host-{}.chaos.test"


def direct_session() -> requests.Session:
    """A client that knows nothing of this machine's proxies."""
    session = requests.Session()
    session.trust_env = False
    return session


def new_secret() -> str:
    """A webhook secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Esteira:
    """The plant under test."""

    def __init__(self) -> None:
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.media = ""
        self.named_every = 0

    def prepare(self, testbed: Testbed) -> None:
        self.media = testbed.servers.address
        self.named_every = testbed.terms.named_every
        testbed.servers.secret = new_secret()
        catalogue = Catalogue(self.settings(testbed)["DATABASE_URL"])
        catalogue.migrate()
        catalogue.close()

    def settings(self, testbed: Testbed) -> dict[str, str]:
        return {
            "VAR_DIR": str(testbed.folder / "var"),
            "DATABASE_URL": f"sqlite:///{testbed.folder}/var/esteira.db",
            "REDIS_URL": testbed.valkey.url,
            "FETCH_ALLOW_PRIVATE": "127.0.0.0/8",
            "WEBHOOK_URL": f"{testbed.servers.address}/sink",
            "WEBHOOK_SECRET": testbed.servers.secret,
            "API_TOKEN": self.token,
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",  # what a worker was at when it died is told by what it had begun
            **(testbed.store.settings if testbed.store else {}),
        }

    def parts(self, testbed: Testbed) -> list[Part]:
        env = testbed.environment(self.settings(testbed))
        env["CHAOS_NAMES"] = str(testbed.folder / "names")
        worker = ("dramatiq", testbed.terms.module, "--processes", "1", "--threads", str(THREADS))
        web = ("esteira.web", "--host", "127.0.0.1")
        names = [f"worker{number}" for number in range(1, WORKERS + 1)]
        clocks = {name: {"CHAOS_CLOCK": str(testbed.folder / f"{name}.clock")} for name in names}
        workers = [testbed.python(name, *worker, env=env | clocks[name]) for name in names]
        return [*workers, testbed.python("web", *web, env=env)]

    def handover(self, number: int, file: File) -> Answer:
        body: dict[str, Any] = {"session": "chaos", "message_id": str(number), "kind": file.kind}
        if number % INLINE == 0:
            body["data"] = base64.b64encode(file.content).decode()
        else:
            place = self.media.replace("127.0.0.1", HOST.format(number)) if self.is_named(number) else self.media
            body["url"] = f"{place}/media/{number}?token=of-the-source"
        return self._post(body)

    def is_named(self, number: int) -> bool:
        """Whether this file's URL names its host."""
        return bool(self.named_every) and number % self.named_every == 0 and number % INLINE != 0

    def _post(self, body: dict[str, Any]) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            with direct_session() as session:
                answer = session.post(self._hook, json=body, headers=headers, timeout=PATIENCE_S)
        except requests.ConnectionError as error:
            # Nobody listens: nothing was sent. Whatever else ends a connection may have come too late to undo it.
            return Answer(REFUSED if "refused" in str(error) else UNKNOWN, detail=type(error).__name__)
        except requests.RequestException as error:
            return Answer(UNKNOWN, detail=type(error).__name__)
        if answer.status_code != 202:
            return Answer(REFUSED, detail=f"{answer.status_code} {answer.text[:100]}")
        [accepted] = answer.json()["accepted"]
        return Answer(ACCEPTED, accepted["id"])

    @property
    def _hook(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/media"

    def rows(self, testbed: Testbed) -> list[Row]:
        return esteira_rows(testbed.folder / "var" / "esteira.db")

    def unannounced(self, testbed: Testbed) -> int:
        return esteira_deliveries(testbed.folder / "var" / "esteira.db")["pending"]

    def stored_files(self, testbed: Testbed) -> StoredFiles:
        stored_files = esteira_stored_files(testbed.folder / "var")
        return testbed.store.add_to(stored_files, testbed.folder / "var" / "media") if testbed.store else stored_files

    def clean_up(self, testbed: Testbed) -> None:
        """Has the intake tidied that a worker would tidy within the hour."""
        _run(testbed, [sys.executable, "-m", "scripts.faults.intake_cleanup"])

    def wait_until_ready(self) -> None:
        """Returns once the web app answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with direct_session() as session:
                    session.get(f"http://127.0.0.1:{self.port}/healthz", timeout=1)
            except requests.RequestException:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("the web app does not start")


def replay(testbed: Testbed, code: str) -> None:
    """`esteira replay` of what has failed with this error code."""
    program = str(Path(sys.executable).parent / "esteira")
    _run(testbed, [program, "replay", "--status", "failed", "--error", code, "--yes"])


def redeliver(testbed: Testbed) -> None:
    """`esteira webhooks redeliver` of everything that was given up."""
    _run(testbed, [str(Path(sys.executable).parent / "esteira"), "webhooks", "redeliver", "--yes"])


def _run(testbed: Testbed, command: list[str]) -> None:
    """Runs a command beside the plant; a failure is noted."""
    done = subprocess.run(
        command, cwd=ROOT, env=testbed.part("web").env, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        testbed.observations.broken.append(f"{' '.join(command[1:4])}: {done.stdout[-200:]}{done.stderr[-200:]}")
