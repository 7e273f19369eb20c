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
from scripts.faults.environment import ROOT, THREADS, WORKERS, Site
from scripts.faults.files import File
from scripts.faults.leftovers import Kept, Row, esteira_deliveries, esteira_kept, esteira_rows
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
        self.named = 0

    def prepare(self, site: Site) -> None:
        self.media = site.around.address
        self.named = site.terms.named
        site.around.secret = new_secret()
        catalogue = Catalogue(self.settings(site)["DATABASE_URL"])
        catalogue.migrate()
        catalogue.close()

    def settings(self, site: Site) -> dict[str, str]:
        return {
            "VAR_DIR": str(site.folder / "var"),
            "DATABASE_URL": f"sqlite:///{site.folder}/var/esteira.db",
            "REDIS_URL": site.valkey.url,
            "FETCH_ALLOW_PRIVATE": "127.0.0.0/8",
            "WEBHOOK_URL": f"{site.around.address}/sink",
            "WEBHOOK_SECRET": site.around.secret,
            "API_TOKEN": self.token,
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",  # what a worker was at when it died is told by what it had begun
            **(site.store.settings if site.store else {}),
        }

    def parts(self, site: Site) -> list[Part]:
        env = site.environment(self.settings(site))
        env["CHAOS_NAMES"] = str(site.folder / "names")
        worker = ("dramatiq", site.terms.module, "--processes", "1", "--threads", str(THREADS))
        web = ("esteira.web", "--host", "127.0.0.1")
        names = [f"worker{number}" for number in range(1, WORKERS + 1)]
        clocks = {name: {"CHAOS_CLOCK": str(site.folder / f"{name}.clock")} for name in names}
        workers = [site.python(name, *worker, env=env | clocks[name]) for name in names]
        return [*workers, site.python("web", *web, env=env)]

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
        return bool(self.named) and number % self.named == 0 and number % INLINE != 0

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

    def rows(self, site: Site) -> list[Row]:
        return esteira_rows(site.folder / "var" / "esteira.db")

    def untold(self, site: Site) -> int:
        return esteira_deliveries(site.folder / "var" / "esteira.db")["pending"]

    def kept(self, site: Site) -> Kept:
        kept = esteira_kept(site.folder / "var")
        return site.store.add_to(kept, site.folder / "var" / "media") if site.store else kept

    def tidy(self, site: Site) -> None:
        """Has the intake tidied that a worker would tidy within the hour."""
        _run(site, [sys.executable, "-m", "scripts.faults.tidy"])

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


def replay(site: Site, code: str) -> None:
    """`esteira replay` of what has failed with this error code."""
    program = str(Path(sys.executable).parent / "esteira")
    _run(site, [program, "replay", "--status", "failed", "--error", code, "--yes"])


def redeliver(site: Site) -> None:
    """`esteira webhooks redeliver` of everything that was given up."""
    _run(site, [str(Path(sys.executable).parent / "esteira"), "webhooks", "redeliver", "--yes"])


def _run(site: Site, command: list[str]) -> None:
    """Runs a command beside the plant; a failure is noted."""
    done = subprocess.run(
        command, cwd=ROOT, env=site.part("web").env, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        site.marks.broken.append(f"{' '.join(command[1:4])}: {done.stdout[-200:]}{done.stderr[-200:]}")
