"""`esteira submit` without workers: what it accepts, what it refuses, and its output."""

from __future__ import annotations

import json
import os
from pathlib import Path

from esteira.cli.demo import pictures
from tests.support.esteira import Installation, write_jsonl

LOOPBACK = "http://127.0.0.1:9/file"


def row(number: int, **fields: object) -> dict[str, object]:
    return {"session": "s", "message_id": f"m{number}", "url": LOOPBACK, **fields}


def test_submit_accepts_urls_and_local_files(installation: Installation) -> None:
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    submitted = installation.run("submit", LOOPBACK, paper, "--session", "shop", "--kind", "document", "--json")
    assert submitted.code == 0, submitted.err
    assert [line["mode"] for line in submitted.lines] == ["queued", "queued"]
    listed = installation.run("list", "--session", "shop", "--json").json
    assert {record["id"] for record in listed} == {line["id"] for line in submitted.lines}
    assert {record["filename"] for record in listed} == {None, "paper.pdf"}
    assert {record["status"] for record in listed} == {"received"}


def test_same_message_id_is_a_duplicate(installation: Installation) -> None:
    first, again = (installation.run("submit", LOOPBACK, "--message-id", "m1", "--json").lines[0] for _ in range(2))
    assert (first["mode"], again["mode"]) == ("queued", "duplicate")
    assert first["id"] == again["id"]


def test_submit_without_message_id_makes_new_attachments(installation: Installation) -> None:
    ids = {line["id"] for line in installation.run("submit", LOOPBACK, LOOPBACK, "--json").lines}
    assert len(ids) == 2


def test_invalid_lines_are_reported_and_skipped(installation: Installation) -> None:
    lines = [json.dumps(row(1)), "{", json.dumps({"session": "s", "message_id": "m", "url": 7}), json.dumps(row(2))]
    lines.append(json.dumps(row(3, data="*not base64*", url=None)))
    finished = installation.run("submit", "--jsonl", "-", stdin="\n".join(lines))
    assert finished.code == 1
    assert "line 2: is not JSON" in finished.err
    assert "line 3: url: Input should be a valid string" in finished.err
    assert "line 5: data: is not base64" in finished.err
    assert "2 accepted: 2 queued; 3 invalid" in finished.err
    assert "Traceback" not in finished.err
    assert len(installation.run("list", "--json").json) == 2


def test_repeated_jsonl_file_is_all_duplicates(installation: Installation) -> None:
    file = write_jsonl(installation.folder / "load.jsonl", [row(number) for number in range(200)])
    assert "200 accepted: 200 queued" in installation.run("submit", "--jsonl", file).err
    again = installation.run("submit", "--jsonl", file)
    assert "200 accepted: 200 duplicate" in again.err
    assert again.code == 0
    assert installation.run("stats", "--json").json["queues"]["fetch"]["ready"] == 200


def test_inline_data_is_stored_before_it_is_accepted(installation: Installation) -> None:
    finished = installation.run("submit", "--jsonl", "-", stdin=json.dumps(row(1, url=None, data="aGVsbG8=")))
    assert finished.code == 0
    [kept] = installation.stored_files()
    assert kept.read_bytes() == b"hello"


def test_wait_stops_at_its_timeout(installation: Installation) -> None:
    finished = installation.run("submit", LOOPBACK, "--wait", "--timeout", "0.5")
    assert finished.code == 1
    assert "1 not finished" in finished.err
    [record] = installation.run("list", "--json").json
    assert f"{record['id']}  not finished  {LOOPBACK}" in finished.err


def test_wait_does_not_wait_for_unreachable_webhooks(installation: Installation) -> None:
    unreachable = installation.with_settings(
        REDIS_URL="redis://127.0.0.1:1/0",
        WEBHOOK_URL="http://127.0.0.1:1/",
        WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    finished = unreachable.run("submit", "ftp://127.0.0.1/one", "--wait", "--timeout", "30")
    assert "1 rejected" in finished.err
    [record] = unreachable.run("list", "--json").json
    assert record["announced_at"], "the event is saved and waits for a worker"


def test_unsuccessful_attachments_are_reported_with_their_source(installation: Installation) -> None:
    away = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0")  # so that they are processed inline
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    lines = away.run("submit", "ftp://127.0.0.1/one", paper, "--wait").out.splitlines()
    assert len(lines) == 2
    assert any("rejected  url_scheme  ftp://127.0.0.1/one: " in line for line in lines)
    assert any(f"rejected  broken  {paper}: " in line for line in lines)


def test_wait_prints_a_line_per_attachment_with_its_place(installation: Installation) -> None:
    away = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0")  # so that they are processed inline
    photo = installation.folder / "photo.jpg"
    photo.write_bytes(pictures.jpeg())
    finished = away.run("submit", photo, "--wait")
    assert finished.code == 0, finished.err
    [stored] = installation.stored_files()
    [record] = installation.run("list", "--json").json
    assert finished.out == f"{record['id']}  done  {stored}  {photo}\n"
    assert away.run("submit", photo, "ftp://127.0.0.1/one", "--wait").code == 1
    [line] = away.run("submit", photo, "--wait", "--json").lines
    assert line["status"] == "done"


def test_wrong_usage_is_reported_before_anything_is_submitted(installation: Installation) -> None:
    secret = installation.folder / "secret"
    os.mkfifo(secret)
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    for arguments, fault in (
        ((), "give SOURCEs or --jsonl"),
        ((LOOPBACK, "--jsonl", "-"), "not both"),
        ((LOOPBACK, LOOPBACK, "--message-id", "m"), "--message-id is the id of one attachment"),
        ((LOOPBACK, "no/such/file"), "neither a URL nor a readable file"),
        ((LOOPBACK, str(secret)), "neither a URL nor a readable file"),
        (("--jsonl", "-", "--session", "s"), "--session: cannot be combined with --jsonl"),
        (("--jsonl", "-", "--session", ""), "--session: cannot be combined with --jsonl"),
        ((LOOPBACK, "--kind", "song"), "'song' is not one of"),
        ((LOOPBACK, "--session", ""), "--session is empty: give a value"),
        ((str(paper), "--session", ""), "--session is empty: give a value"),
        ((str(paper), "--message-id", ""), "--message-id is empty: give a value"),
        ((str(paper), "--filename", " "), "--filename is empty: give a value"),
        ((LOOPBACK, ""), "a SOURCE is empty"),
        ((str(paper), "--message-id", "m" * 600), "--message-id: String should have at most 512 characters"),
        ((LOOPBACK, LOOPBACK + "x" * 20_000), "SOURCE: String should have at most 16384 characters"),
    ):
        finished = installation.run("submit", *arguments)
        assert finished.code == 2, arguments
        assert fault in " ".join(finished.err.replace("│", " ").split()), finished.err
        assert "Traceback" not in finished.err
    assert installation.run("list", "--json").json == []


def test_submit_escapes_file_names_that_are_not_utf_8(installation: Installation) -> None:
    file = installation.folder / os.fsdecode(b"caf\xe9.pdf")
    file.write_bytes(b"%PDF-1.4 small")
    finished = installation.run("submit", file, "--json")
    assert finished.code == 0, finished.err
    assert finished.lines[0]["source"] == str(file)
    assert "caf\\udce9.pdf" in finished.out


def test_attachments_are_spooled_while_redis_is_unreachable(installation: Installation, tmp_path: Path) -> None:
    finished = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0", FALLBACK="spool").run(
        "submit", LOOPBACK, "--json"
    )
    assert finished.code == 0
    assert finished.lines[0]["mode"] == "spooled"
    assert len(installation.run("list", "--json").json) == 1


def test_submit_hands_over_what_intake_rules_refuse(installation: Installation) -> None:
    finished = installation.with_settings(
        REDIS_URL="redis://127.0.0.1:1/0", FALLBACK="spool", INTAKE_RULES='[{"take": false}]'
    ).run("submit", LOOPBACK, "--json")
    assert finished.code == 0, finished.err
    assert finished.lines[0]["mode"] == "spooled"
