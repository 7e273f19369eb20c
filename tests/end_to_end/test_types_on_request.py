"""Types on request and Lottie stickers, from the command line to storage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.esteira import Installation, new_installation, start_esteira, write_jsonl
from tests.support.media_server import MediaServer
from tests.support.samples import sample
from tests.support.valkey import running_valkey
from tests.support.whatsapp_media import encrypt

ON_REQUEST = {
    "NFe35.xml": ("xml/latin-1", "xml", "application/xml"),
    "contatos.vcf": ("vcf/several", "vcf", "text/vcard"),
    "extrato.ofx": ("ofx/1.x", "ofx", "application/x-ofx"),
    "fotos.zip": ("zip/deflated", "zip", "application/zip"),
}


@pytest.fixture(scope="module")
def allowing() -> Iterator[Installation]:
    """A running Esteira that accepts the types on request, and images of at most 100 bytes."""
    types = ",".join(name for _, name, _ in ON_REQUEST.values())
    with (
        running_valkey() as server,
        new_installation(REDIS_URL=server.url, ALLOWED_TYPES=types, MAX_IMAGE_MB="0.0001") as installation,
        start_esteira(installation, "--no-web"),
    ):
        yield installation


def written(folder: Path) -> list[Path]:
    """The files of ON_REQUEST, in a folder."""
    for name, (label, _, _) in ON_REQUEST.items():
        (folder / name).write_bytes(sample(label))
    return [folder / name for name in ON_REQUEST]


def test_types_on_request_are_stored_unchanged(allowing: Installation, tmp_path: Path) -> None:
    files = written(tmp_path)
    checked = allowing.run("check", *files)
    assert checked.code == 0, checked.out
    finished = allowing.run("submit", *files, "--session", "shop", "--wait", "--json")
    assert finished.code == 0, finished.err
    records = {record["filename"]: record for record in finished.lines}
    for file in files:
        record = records[file.name]
        _, ext, mime = ON_REQUEST[file.name]
        assert (record["status"], record["mime"], record["ext"], record["kind"]) == ("done", mime, ext, "document")
        assert record["name"].endswith(f".{ext}")
        assert (allowing.folder / "media" / record["storage_key"]).read_bytes() == file.read_bytes()


def test_types_on_request_are_refused_by_default_with_what_accepts_them(running: Installation, tmp_path: Path) -> None:
    files = written(tmp_path)
    advice = {file.name: f"add {ON_REQUEST[file.name][1]} to ALLOWED_TYPES to accept it" for file in files}
    checked = running.run("check", *files)
    assert checked.code == 1
    assert all(advice[Path(line["path"]).name] in line["error"] for line in checked.lines)
    finished = running.run("submit", *files, "--session", "not-requested", "--wait", "--json")
    assert finished.code == 1
    for record in finished.lines:
        assert (record["status"], record["error_code"]) == ("rejected", "type_not_allowed")
        assert advice[record["filename"]] in record["error"]
    for language in ("en", "pt-BR"):
        failures = running.run("failures", "--session", "not-requested", "--language", language)
        assert "ALLOWED_TYPES" in failures.out


def test_a_file_beyond_a_size_limit_names_its_setting(allowing: Installation, media: MediaServer) -> None:
    media.files["photo.jpg"] = sample("jpeg/pillow")
    finished = allowing.run(
        "submit", media.url("photo.jpg"), "--kind", "image", "--session", "large", "--wait", "--json"
    )
    [record] = finished.lines
    assert (record["status"], record["error_code"]) == ("rejected", "too_large")
    assert record["error"] == "the file is larger than 100 bytes (MAX_IMAGE_MB)"


def test_a_lottie_sticker_is_decrypted_and_stored_by_default(running: Installation, media: MediaServer) -> None:
    content = sample("was/whatsapp")
    encrypted = encrypt(content, kind="sticker")
    media.files["sticker.enc"] = encrypted.data
    row = {
        "session": "stickers",
        "message_id": "m",
        "kind": "sticker",
        "mimetype": "application/was",
        "url": media.url("sticker.enc"),
        **encrypted.fields(),
    }
    finished = running.run("submit", "--jsonl", write_jsonl(running.folder / "s.jsonl", [row]), "--wait", "--json")
    [record] = finished.lines
    assert (record["status"], record["kind"], record["mime"]) == ("done", "sticker", "application/was")
    assert (record["width"], record["height"], record["duration_ms"], record["animated"]) == (512, 512, 3000, True)
    assert record["name"].endswith(f"_{hashlib.sha256(content).hexdigest()[:6]}.was")
    assert (running.folder / "media" / record["storage_key"]).read_bytes() == content
