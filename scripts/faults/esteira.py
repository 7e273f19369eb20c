"""Esteira as the product under test: workers with `dramatiq actors.stages`, and intake through the web app's hook."""

from __future__ import annotations

import base64
import secrets
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import requests

from pipeline.catalogue import Catalogue
from scripts.faults.environment import ROOT, THREADS, WORKERS, Testbed
from scripts.faults.files import SLOW, File
from scripts.faults.leftovers import (
    Query,
    Row,
    StoredFiles,
    esteira_deliveries,
    esteira_rows,
    esteira_stored_files,
    sqlite_query,
)
from scripts.faults.load import ACCEPTED, REFUSED, UNKNOWN, Answer
from scripts.faults.postgres import select
from scripts.faults.supervisor import Part
from tests.support.valkey import free_port

HOOK_TIMEOUT_S = 60.0  # how long the client waits for the response of the hook
SESSIONS = 5  # of the load
INLINE = 6  # every sixth file is sent as base64
# Host names of the media server that scripts.faults.dns_faults resolves. Each file has another name, because a worker
# does not resolve a host again to which it has a connection.
HOST = "host-{}.chaos.test"


def direct_session() -> requests.Session:
    """An HTTP client that ignores the proxy settings of the machine."""
    session = requests.Session()
    session.trust_env = False
    return session


def new_secret() -> str:
    """Returns a new webhook secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


class Esteira:
    """Adapter for Esteira."""

    def __init__(self) -> None:
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.media = ""
        self.named_every = 0
        self.listener: socket.socket | None = None
        self.slow_media = ""  # the address of a stranger's server, for files of the category SLOW

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
            "DATABASE_URL": testbed.postgres.url if testbed.postgres else f"sqlite:///{testbed.folder}/var/esteira.db",
            "REDIS_URL": testbed.valkey.url,
            "FETCH_ALLOW_PRIVATE": "127.0.0.0/8",
            "WEBHOOK_URL": f"{testbed.servers.address}/sink",
            "WEBHOOK_SECRET": testbed.servers.secret,
            "API_TOKEN": self.token,
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
            # For "attachment started", which shows what a killed worker was working on.
            "LOG_LEVEL": "debug",
            "ALLOW_DEBUGGERS": "true",  # another user than root could not measure the memory of the processes
            **(testbed.store.settings if testbed.store else {}),
        }

    def parts(self, testbed: Testbed) -> list[Part]:
        env = testbed.environment(self.settings(testbed))
        env["CHAOS_NAMES"] = str(testbed.folder / "names")
        worker = ("dramatiq", testbed.terms.module, "--processes", "1", "--threads", str(THREADS))
        web = ("esteira.web", "--host", "127.0.0.1")
        names = [f"worker{number}" for number in range(1, WORKERS + 1)]
        clocks = {name: {"CHAOS_CLOCK": str(testbed.folder / f"{name}.clock")} for name in names}
        workers = [testbed.python_part(name, *worker, env=env | clocks[name]) for name in names]
        self.listener = socket.create_server(("127.0.0.1", self.port)) if testbed.terms.keeps_socket else None
        return [*workers, testbed.python_part("web", *web, env=env, listener=self.listener)]

    def hand_over(self, number: int, file: File) -> Answer:
        session = "stranger" if file.category == SLOW else f"chaos-{number % SESSIONS}"
        body: dict[str, Any] = {"session": session, "message_id": str(number), "kind": file.kind}
        if file.category == SLOW:
            body["url"] = f"{self.slow_media}{file.label}?{number}"
        elif number % INLINE == 0:
            body["data"] = base64.b64encode(file.content).decode()
        else:
            address = self.media.replace("127.0.0.1", HOST.format(number)) if self.is_named(number) else self.media
            body |= {"url": f"{address}/media/{number}?token=of-the-source", "size": len(file.content)}
        return self._post(body)

    def is_named(self, number: int) -> bool:
        """Whether the URL of this file contains a host name instead of an address."""
        return bool(self.named_every) and number % self.named_every == 0 and number % INLINE != 0

    def _post(self, body: dict[str, Any]) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            with direct_session() as session:
                answer = session.post(self._hook, json=body, headers=headers, timeout=HOOK_TIMEOUT_S)
        except requests.ConnectionError as error:
            # A refused connection sent nothing. After any other error the request may have been processed.
            return Answer(REFUSED if "refused" in str(error) else UNKNOWN, detail=type(error).__name__)
        except requests.RequestException as error:
            return Answer(UNKNOWN, detail=type(error).__name__)
        if answer.status_code != 202:
            return Answer(REFUSED, detail=f"{answer.status_code} {answer.text[:400]}")
        [accepted] = answer.json()["accepted"]
        return Answer(ACCEPTED, accepted["id"])

    @property
    def _hook(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/media"

    def rows(self, testbed: Testbed) -> list[Row]:
        return esteira_rows(catalogue_query(testbed), testbed.folder / "var" / "media")

    def pending_events(self, testbed: Testbed) -> int:
        return esteira_deliveries(catalogue_query(testbed))["pending"]

    def stored_files(self, testbed: Testbed) -> StoredFiles:
        stored_files = esteira_stored_files(testbed.folder / "var")
        return testbed.store.add_to(stored_files, testbed.folder / "var" / "media") if testbed.store else stored_files

    def clean_up(self, testbed: Testbed) -> None:
        """Runs the intake cleanup that a worker runs for bytes older than an hour."""
        _run(testbed, [sys.executable, "-m", "scripts.faults.intake_cleanup"])

    def wait_until_ready(self) -> None:
        """Waits until the web app responds."""
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


def catalogue_query(testbed: Testbed) -> Query:
    """Runs a SELECT on the catalogue of a run."""
    if testbed.postgres:
        return partial(select, testbed.postgres.url)
    return partial(sqlite_query, testbed.folder / "var" / "esteira.db")


def replay(testbed: Testbed, code: str) -> None:
    """Replays all attachments that failed with this error code."""
    program = str(Path(sys.executable).parent / "esteira")
    _run(testbed, [program, "replay", "--status", "failed", "--error", code, "--yes"])


def redeliver(testbed: Testbed) -> None:
    """Redelivers all undelivered events."""
    _run(testbed, [str(Path(sys.executable).parent / "esteira"), "webhooks", "redeliver", "--yes"])


def _run(testbed: Testbed, command: list[str]) -> None:
    """Runs a command with the environment of the web app; an error is recorded as a problem."""
    done = subprocess.run(
        command, cwd=ROOT, env=testbed.part("web").env, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        testbed.observations.problems.append(f"{' '.join(command[1:4])}: {done.stdout[-200:]}{done.stderr[-200:]}")
