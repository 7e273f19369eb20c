"""The package clients/node: its build, its own tests, and what `npm pack` makes of it in a user's project.

The tests against a real server use the packed and installed package.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pipeline.models import Attachment
from pipeline.values.message_ids import message_identity
from tests.support.gateway_senders import API_TOKEN
from tests.support.node import CLIENT, add_client, node_folder, packed_client
from tests.support.restarted_web import restarted_web
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import free_port

WEBHOOK_SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMgb2YgdGhlIGNsaWVudA=="
PHOTOS = 8
NODE_TEST = ("node", "--test", "--test-reporter=tap")
UNITS = 30
USE = """
const client = new EsteiraClient({ url: 'http://127.0.0.1:9', token: 'x', spool: false });
client.processMediaAsync({ message_id: 'm', url: 'https://media.example/x' }, 'shop').catch((error) => {
    if (!(error instanceof UnavailableError)) throw error;
    console.log(error.code, typeof processMediaAsync);
});
"""
NAMES = "EsteiraClient, UnavailableError, processMediaAsync"
TYPED_USE = """
import { EsteiraClient, EsteiraError, processMediaAsync, type GenericMessage, type Receipt } from 'esteira-client';

const client = new EsteiraClient({ token: 'x', timeoutMs: 500, spool: { maxEntries: 10 }, fallback: () => 1 });
const message: GenericMessage = { message_id: 'm', kind: 'image', data: new Uint8Array(1) };
const receipt: Promise<Receipt> = client.processMediaAsync(message, 'shop');
const wrapped = processMediaAsync({ id: 'x', type: 'image' }, 'shop', { id: 'a contact' });
client.on('media.done', (event) => console.log(event.url?.length, event.name));
client.on('error', (error: EsteiraError) => console.log(error.code, error.status));
client.content('x').then(({ stream }) => stream.pipe(process.stdout));
// @ts-expect-error: there is no such event
client.on('media.gone', () => undefined);
export { receipt, wrapped };
"""


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout: float = 120) -> str:
    """Runs a command that has to succeed; returns its output."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | (env or {}), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


IDS = """
import { readFileSync } from 'node:fs';
import { attachmentId, messageIdentity } from './node_modules/esteira-client/dist/esm/messages/ids.js';
const ids = JSON.parse(readFileSync('cases.json', 'utf8')).map(([session, messageId, chat, fromMe]) => {
    return attachmentId('wppconnect', session, messageIdentity(messageId, chat, fromMe));
});
console.log(JSON.stringify(ids));
"""


def with_script(project: Path, name: str, code: str) -> Path:
    """The project, with this script."""
    (project / name).write_text(code)
    return project


def passed(report: str) -> int:
    """The tests that Node's runner has passed, without those that it has skipped."""
    counts = dict(re.findall(r"^# (pass|fail|skipped) (\d+)$", report, re.M))
    assert (counts["fail"], counts["skipped"]) == ("0", "0"), report
    return int(counts["pass"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project in which the packed package is installed."""
    packed = packed_client()
    with tarfile.open(packed) as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    assert {"LICENSE", "README.md", "package.json", "dist/esm/index.d.ts", "dist/cjs/index.js"} <= names
    assert not [name for name in names if not name.startswith("dist/") and "/" in name], "only what a user needs"
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"private": true}')
    run("npm", "install", "--offline", "--omit=peer", "--no-audit", "--no-fund", packed, cwd=folder)
    assert [path.name for path in (folder / "node_modules").iterdir() if path.name[0] != "."] == ["esteira-client"]
    return folder


def test_units_pass(project: Path) -> None:
    client = (project / "node_modules/esteira-client/dist/esm/index.js").as_uri()
    tests = (path for path in sorted((CLIENT / "test").glob("*.test.mjs")) if path.name != "server.test.mjs")
    assert passed(run(*NODE_TEST, *tests, cwd=CLIENT, env={"ESTEIRA_CLIENT": client})) > UNITS


def test_ids_are_derived_as_the_server_derives_them(project: Path) -> None:
    characters = 'aZ09_@.:-"\\\\/ \t\n\x00\x1c\x7f\x85\xa0é\u2028\u3000\ufeff\U0001f600'
    forms = ("", "false_1@c.us_", "true_1-2@g.us_", "false_9@lid_", "3EB0")
    random = Random(14)
    cases = []
    for _ in range(1000):
        session, rest, chat = ("".join(random.choices(characters, k=random.randint(1, 6))) for _ in range(3))
        chat = random.choice((chat, f"{chat}@c.us", f"{chat}@g.us", "5@hosted.lid"))
        cases.append((session, random.choice(forms) + rest, chat, random.random() < 0.5))
    (project / "cases.json").write_text(json.dumps(cases))
    expected = []
    for session, message_id, chat, from_me in cases:
        fields = {"gateway": "wppconnect", "session": session, "message_id": message_id}
        own = message_identity(message_id, chat=chat, from_me=from_me) or message_id
        expected.append(Attachment.model_construct(**fields, identity=own, part=0).id)
    assert json.loads(run("node", "ids.mjs", cwd=with_script(project, "ids.mjs", IDS))) == expected


def test_lock_names_no_registry() -> None:
    assert "resolved" not in (CLIENT / "package-lock.json").read_text()
    assert set(json.loads((CLIENT / "package.json").read_text())) & {"dependencies", "optionalDependencies"} == set()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("esm.mjs", f"import {{ {NAMES} }} from 'esteira-client';"),
        ("commonjs.cjs", f"const {{ {NAMES} }} = require('esteira-client');"),
    ],
)
def test_package_works_in_a_project(project: Path, name: str, head: str) -> None:
    assert run("node", name, cwd=with_script(project, name, head + USE)) == "unreachable function\n"


@pytest.mark.parametrize(("module", "names"), [("node16", ("typed.mts", "typed.cts")), ("esnext", ("typed.ts",))])
def test_types_are_right_in_a_strict_project(project: Path, module: str, names: tuple[str, ...]) -> None:
    for name in names:
        (project / name).write_text(TYPED_USE)
    resolution = "node16" if module == "node16" else "bundler"
    options = ("--strict", "--noEmit", "--module", module, "--moduleResolution", resolution, "--target", "es2022")
    options += ("--skipLibCheck",) if module == "esnext" else ()  # half the time; the other case checks the types too
    types = ("--lib", "es2022", "--typeRoots", CLIENT / "node_modules" / "@types", "--types", "node")
    run("node", CLIENT / "node_modules" / "typescript" / "bin" / "tsc", *options, *types, *names, cwd=project)


def test_nothing_is_lost_while_server_and_listener_are_killed(
    make_system: Callable[..., RunningSystem], tmp_path: Path
) -> None:
    module = add_client(tmp_path)
    (tmp_path / "node_modules" / "socket.io-client").symlink_to(node_folder() / "node_modules" / "socket.io-client")
    photos, port = tmp_path / "photos", free_port()
    photos.mkdir()
    for number in range(PHOTOS):
        (photos / f"{number}.jpg").write_bytes(photo())
    webhook = {"webhook_url": f"http://127.0.0.1:{port}/", "webhook_secret": WEBHOOK_SECRET}
    system = make_system(log_level="warning", api_token=API_TOKEN, public_url="http://127.0.0.1", **webhook)
    with system.workers(), restarted_web(system) as web:
        env = {
            "ESTEIRA_CLIENT": module.as_uri(),
            "ESTEIRA_URL": web.url,
            "ESTEIRA_TOKEN": API_TOKEN,
            "ESTEIRA_TEST_PHOTOS": str(photos),
            "ESTEIRA_TEST_PAYLOADS": str(ROOT / "tests" / "payloads"),
            "ESTEIRA_TEST_PID_FILE": str(web.pid_file),
            "ESTEIRA_TEST_WEBHOOK_PORT": str(port),
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        assert passed(run(*NODE_TEST, "test/server.test.mjs", cwd=CLIENT, env=env, timeout=240)) >= 4
        assert web.starts >= 4, "it was killed at least three times"
