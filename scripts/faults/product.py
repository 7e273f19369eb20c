"""Esteira from outside: `dramatiq actors.stages` for the work, the web app's hook for the intake."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

import requests

from pipeline.catalogue import Catalogue
from scripts.faults.files import File
from scripts.faults.load import ACCEPTED, REFUSED, UNKNOWN, Answer
from scripts.faults.remains import Kept, Row, esteira_kept, esteira_rows
from scripts.faults.site import THREADS, WORKERS, Site
from scripts.faults.supervisor import Part
from tests.support.valkey import free_port

PATIENCE_S = 60.0  # how long a client waits for the hook's answer
INLINE = 6  # every sixth file comes as base64


def direct_session() -> requests.Session:
    """A client that knows nothing of this machine's proxies."""
    session = requests.Session()
    session.trust_env = False
    return session


class Esteira:
    """The plant under test. With `poisoned` some decoders of its workers crash; see scripts.faults.poisoned."""

    def __init__(self, *, poisoned: bool = False) -> None:
        self.module = "scripts.faults.poisoned" if poisoned else "actors.stages"
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.media = ""

    def prepare(self, site: Site) -> None:
        self.media = site.around.address
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
            "WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
            "API_TOKEN": self.token,
            "LOG_FORMAT": "json",
        }

    def parts(self, site: Site) -> list[Part]:
        env = site.environment(self.settings(site))
        worker = ("dramatiq", self.module, "--processes", "1", "--threads", str(THREADS))
        web = ("uvicorn", "web.app:app", "--host", "127.0.0.1", "--port", str(self.port))
        workers = [site.python(f"worker{number}", *worker, env=env) for number in range(1, WORKERS + 1)]
        return [*workers, site.python("web", *web, env=env)]

    def handover(self, number: int, file: File) -> Answer:
        body: dict[str, Any] = {"session": "chaos", "message_id": str(number), "kind": file.kind}
        if number % INLINE == 0:
            body["data"] = base64.b64encode(file.content).decode()
        else:
            body["url"] = f"{self.media}/media/{number}?token=of-the-source"
        return self._post(body)

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

    def kept(self, site: Site) -> Kept:
        return esteira_kept(site.folder / "var")

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
