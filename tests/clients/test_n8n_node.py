"""The nodes of clients/n8n, built and loaded as n8n loads them, with the real web app and workers."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.media_server import MediaServer
from tests.support.node import with_packages
from tests.support.payloads import media_file
from tests.support.system import ROOT, RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, web_server
from tests.support.webhooks import SECRET

FOLDER = ROOT / "clients" / "n8n"
SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")


@pytest.mark.slow
def test_nodes_work_with_a_running_server(make_system: Callable[..., RunningSystem], tmp_path: Path) -> None:
    npm = shutil.which("npm") or "npm"
    subprocess.run([npm, "run", "--silent", "build"], cwd=with_packages(FOLDER), check=True, timeout=100)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(media_file("photo.jpg"))
    with MediaServer({"photo.jpg": photo.read_bytes()}) as media, MediaServer() as receiver:
        system = make_system(webhook_url=receiver.url("n8n"), webhook_secret=SECRET, media_backoff_ms="50")
        with system.workers(), web_server(system) as server:
            server.post_media({"session": "shop", "message_id": "m1", "url": media.url("photo.jpg")})
            wait_until(lambda: receiver.requests)
            [delivered] = receiver.requests
            headers = {name: delivered.headers[name] for name in SIGNED}
            webhook = {"headers": headers, "body": base64.b64encode(delivered.body).decode(), "secret": SECRET}
            (tmp_path / "webhook.json").write_text(json.dumps(webhook))
            env = os.environ | {
                "ESTEIRA_URL": f"http://127.0.0.1:{server.port}",
                "API_TOKEN": TOKEN,
                "MEDIA_URL": media.url("photo.jpg"),
                "MEDIA_FILE": str(photo),
                "ESTEIRA_WEBHOOK": str(tmp_path / "webhook.json"),
            }
            done = subprocess.run(
                [npm, "test", "--silent"], cwd=FOLDER, env=env, capture_output=True, text=True, timeout=150, check=False
            )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"# skipped 0\b", done.stdout), done.stdout[-500:]
    assert re.search(r"# pass 1[0-9]\b", done.stdout), done.stdout[-500:]
