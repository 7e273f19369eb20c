"""`esteira users`: tokens are shown once, listed without secrets, rotated with an overlap, and revoked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.security.user_tokens import read_token
from tests.support.esteira import Installation


def listed(installation: Installation, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(installation.run("users", "list", "--json", *options).out)
    return rows


def test_added_user_has_a_token_whose_secret_is_stored_nowhere(installation: Installation) -> None:
    finished = installation.run(
        "users", "add", "ana", "--role", "operator", "--sessions", "waha:shop-*, *:x", "--expires", "90d"
    )
    assert finished.code == 0, finished.err
    text = finished.out.strip()
    token = read_token(text)
    assert token
    [row] = listed(installation)
    assert (row["id"], row["name"], row["role"]) == (token.id, "ana", "operator")
    assert (row["scope"], row["state"]) == (["waha:shop-*", "*:x"], "valid")
    assert row["expires_at"] - row["created_at"] == 90 * 86_400_000
    database = b"".join(path.read_bytes() for path in installation.folder.glob("esteira.db*"))
    assert text.rpartition("_")[2].encode() not in database
    assert "secret" not in json.dumps(row)


@pytest.mark.parametrize(
    ("api_token", "role", "told"), [("", "viewer", True), ("", "intake", False), ("a" * 16, "viewer", False)]
)
def test_added_user_without_an_api_token_is_told_what_needs_it(
    installation: Installation, api_token: str, role: str, told: bool
) -> None:
    added = installation.with_settings(API_TOKEN=api_token).run("users", "add", "ana", "--role", role)
    assert read_token(added.out.strip()), "only the token is on stdout"
    assert ("The dashboard's login and links to contents need API_TOKEN" in added.err) is told


def test_rotation_keeps_the_old_token_for_the_overlap(installation: Installation) -> None:
    installation.run("users", "add", "ana", "--role", "viewer", "--sessions", "waha:shop")
    new = read_token(installation.run("users", "rotate", "ana", "--overlap", "1").out.strip())
    old, fresh = sorted(listed(installation), key=lambda row: row["expires_at"] is None)
    assert new
    assert fresh["id"] == new.id
    assert (fresh["role"], fresh["scope"]) == ("viewer", ["waha:shop"])
    assert abs(old["expires_at"] - fresh["created_at"] - 3_600_000) < 60_000
    installation.run("users", "rotate", "ana", "--overlap", "0")
    assert len(listed(installation)) == 1
    assert len(listed(installation, "--all")) == 3


def test_revoked_user_has_no_valid_token(installation: Installation) -> None:
    token = read_token(installation.run("users", "add", "ana", "--role", "viewer").out.strip())
    assert token
    assert installation.run("users", "revoke", "ana").out.strip() == f"{token.id} of ana is revoked"
    assert listed(installation) == []
    assert [row["state"] for row in listed(installation, "--all")] == ["revoked"]
    assert installation.run("users", "add", "ana", "--role", "admin").code == 0, "the name is free again"
    by_id = listed(installation)[0]["id"]
    assert installation.run("users", "revoke", by_id).code == 0
    assert installation.run("users", "revoke", "ab" * 8).out.strip() == f"session token {'ab' * 8} is revoked"


def test_wrong_use_is_reported_with_what_to_do(installation: Installation) -> None:
    installation.run("users", "add", "ana", "--role", "viewer")
    for arguments, code, hint in (
        (("add", "ana", "--role", "viewer"), 1, "rotate ana"),
        (("add", "api-token", "--role", "viewer"), 2, "name"),
        (("add", "a b", "--role", "viewer"), 2, "name"),
        (("add", "bob"), 2, "--role"),
        (("add", "bob", "--role", "link"), 2, "link"),
        (("add", "bob", "--role", "viewer", "--sessions", "shop"), 2, "waha:shop"),
        (("add", "bob", "--role", "viewer", "--sessions", ""), 2, "pattern"),
        (("add", "bob", "--role", "viewer", "--expires", "soon"), 2, "90d"),
        (("revoke", "bob"), 1, "users list"),
        (("rotate", "bob"), 1, "users list"),
    ):
        finished = installation.run("users", *arguments)
        assert (finished.code, finished.out) == (code, ""), arguments
        assert hint in finished.err, finished.err
