"""`esteira submit` with nobody at work: what it takes, what it refuses, what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.esteira import Installation, write_jsonl

LOOPBACK = "http://127.0.0.1:9/file"


def row(number: int, **fields: object) -> dict[str, object]:
    return {"session": "s", "message_id": f"m{number}", "url": LOOPBACK, **fields}


def test_urls_and_local_files_are_accepted_and_listed(installation: Installation) -> None:
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    submitted = installation.run("submit", LOOPBACK, paper, "--session", "shop", "--kind", "document", "--json")
    assert submitted.code == 0, submitted.err
    assert [line["mode"] for line in submitted.lines] == ["queued", "queued"]
    listed = installation.run("list", "--session", "shop", "--json").json
    assert {record["id"] for record in listed} == {line["id"] for line in submitted.lines}
    assert {record["filename"] for record in listed} == {None, "paper.pdf"}
    assert {record["status"] for record in listed} == {"received"}


def test_the_same_message_twice_is_one_attachment(installation: Installation) -> None:
    first, again = (installation.run("submit", LOOPBACK, "--message-id", "m1", "--json").lines[0] for _ in range(2))
    assert (first["mode"], again["mode"]) == ("queued", "duplicate")
    assert first["id"] == again["id"]


def test_without_a_message_id_every_submission_is_a_new_one(installation: Installation) -> None:
    ids = {line["id"] for line in installation.run("submit", LOOPBACK, LOOPBACK, "--json").lines}
    assert len(ids) == 2


def test_wrong_lines_are_named_and_the_others_go_on(installation: Installation) -> None:
    lines = [json.dumps(row(1)), "{", json.dumps({"session": "s", "message_id": "m", "url": 7}), json.dumps(row(2))]
    lines.append(json.dumps(row(3, data="*not base64*", url=None)))
    finished = installation.run("submit", "--jsonl", "-", stdin="\n".join(lines))
    assert finished.code == 1
    assert "line 2: is not JSON" in finished.err
    assert "line 3: url: Input should be a valid string" in finished.err
    assert "line 5: data: is not base64" in finished.err
    assert "2 accepted: 2 queued; 3 wrong" in finished.err
    assert "Traceback" not in finished.err
    assert len(installation.run("list", "--json").json) == 2


def test_a_file_of_lines_may_be_given_again(installation: Installation) -> None:
    file = write_jsonl(installation.folder / "load.jsonl", [row(number) for number in range(200)])
    assert "200 accepted: 200 queued" in installation.run("submit", "--jsonl", file).err
    again = installation.run("submit", "--jsonl", file)
    assert "200 accepted: 200 duplicate" in again.err
    assert again.code == 0
    assert installation.run("stats", "--json").json["queues"]["fetch"]["ready"] == 200


def test_bytes_in_a_line_are_written_down_before_they_count_as_accepted(installation: Installation) -> None:
    finished = installation.run("submit", "--jsonl", "-", stdin=json.dumps(row(1, url=None, data="aGVsbG8=")))
    assert finished.code == 0
    [kept] = installation.stored_files()
    assert kept.read_bytes() == b"hello"


def test_waiting_without_a_worker_gives_up_in_time(installation: Installation) -> None:
    finished = installation.run("submit", LOOPBACK, "--wait", "--timeout", "0.5")
    assert finished.code == 1
    assert "1 not ended" in finished.err


def test_waiting_for_an_ending_is_not_waiting_for_who_should_be_told_of_it(installation: Installation) -> None:
    deaf = installation.with_settings(
        REDIS_URL="redis://127.0.0.1:1/0",
        WEBHOOK_URL="http://127.0.0.1:1/",
        WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    finished = deaf.run("submit", "ftp://127.0.0.1/one", "--wait", "--timeout", "30")
    assert "1 rejected" in finished.err
    [record] = deaf.run("list", "--json").json
    assert record["announced_at"], "what is to be told is written down, and waits for a worker"


def test_what_ends_badly_is_named_by_where_it_was_given(installation: Installation) -> None:
    away = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0")  # so that they run at once
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    ended = away.run("submit", "ftp://127.0.0.1/one", paper, "--wait").out.splitlines()
    assert len(ended) == 2
    assert any("rejected  url_scheme  ftp://127.0.0.1/one: " in line for line in ended)
    assert any(f"rejected  broken  {paper}: " in line for line in ended)


def test_nonsense_is_refused_before_anything_is_handed_over(installation: Installation) -> None:
    secret = installation.folder / "secret"
    os.mkfifo(secret)
    paper = installation.folder / "paper.pdf"
    paper.write_bytes(b"%PDF-1.4 small")
    for arguments, fault in (
        ((), "give SOURCEs or --jsonl"),
        ((LOOPBACK, "--jsonl", "-"), "not both"),
        ((LOOPBACK, LOOPBACK, "--message-id", "m"), "--message-id is the id of one attachment"),
        ((LOOPBACK, "no/such/file"), "neither a URL nor a file"),
        ((LOOPBACK, str(secret)), "neither a URL nor a file"),
        (("--jsonl", "-", "--session", "s"), "--session: with --jsonl every line says so itself"),
        (("--jsonl", "-", "--session", ""), "--session: with --jsonl every line says so itself"),
        ((LOOPBACK, "--kind", "song"), "'song' is not one of"),
        ((LOOPBACK, "--session", ""), "--session: String should have at least 1 character"),
        ((str(paper), "--session", ""), "--session: String should have at least 1 character"),
        ((str(paper), "--message-id", ""), "--message-id: String should have at least 1 character"),
        ((str(paper), "--message-id", "m" * 600), "--message-id: String should have at most 512 characters"),
        ((LOOPBACK, LOOPBACK + "x" * 20_000), "SOURCE: String should have at most 16384 characters"),
    ):
        finished = installation.run("submit", *arguments)
        assert finished.code == 2, arguments
        assert fault in " ".join(finished.err.replace("│", " ").split()), finished.err
        assert "Traceback" not in finished.err
    assert installation.run("list", "--json").json == []


def test_names_that_are_not_utf_8_are_json_all_the_same(installation: Installation) -> None:
    file = installation.folder / os.fsdecode(b"caf\xe9.pdf")
    file.write_bytes(b"%PDF-1.4 small")
    finished = installation.run("submit", file, "--json")
    assert finished.code == 0, finished.err
    assert finished.lines[0]["source"] == str(file)
    assert "caf\\udce9.pdf" in finished.out


def test_a_dead_queue_is_no_reason_to_lose_anything(installation: Installation, tmp_path: Path) -> None:
    finished = installation.with_settings(REDIS_URL="redis://127.0.0.1:1/0", FALLBACK="spool").run(
        "submit", LOOPBACK, "--json"
    )
    assert finished.code == 0
    assert finished.lines[0]["mode"] == "spooled"
    assert len(installation.run("list", "--json").json) == 1
