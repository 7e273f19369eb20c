"""The contract of users' tokens and of queries within a scope, for SQLite and PostgreSQL."""

from __future__ import annotations

import itertools

import pytest

from pipeline.catalogue import Catalogue, Filters
from pipeline.catalogue.user_tokens import Ended, UserToken, subject
from pipeline.errors import PermanentError
from pipeline.models import Attachment
from pipeline.security.roles import Role
from pipeline.security.scopes import ALL_SESSIONS, NO_SESSIONS, Scope, SessionPattern, parse_scope
from tests.support.catalogues import Clock

GATEWAYS = ("waha", "WAHA", "wa%")
SESSIONS = ("shop", "SHOP", "shop-1", "shop_1", "sh%p", "50*", "5[0]", "é", "a:b")
PREFIXES = ("", "sh", "SH", "s%", "shop_", "5[", "é")


def token(token_id: str, name: str, **fields: int | None) -> UserToken:
    return UserToken(token_id, name, Role.VIEWER, parse_scope(["waha:shop-*", "*:x"]), "hash", 1, **fields)


class AccessContract:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def catalogue(self, url: str, clock: Clock) -> Catalogue:
        return Catalogue(url, clock=clock)

    def test_user_has_one_valid_token_until_it_is_revoked(self, catalogue: Catalogue) -> None:
        tokens = catalogue.user_tokens
        tokens.add(token("a", "ana"))
        with pytest.raises(PermanentError, match="rotate ana"):
            tokens.add(token("b", "ana"))
        assert tokens.all() == [token("a", "ana")]
        assert tokens.revoke("ana") == [("a", "ana")]
        assert tokens.revoke("ana") == tokens.revoke("nobody") == []
        tokens.add(token("b", "ana"))
        assert tokens.revoke("b") == [("b", "ana")]
        assert [row.revoked_at for row in tokens.all()] == [catalogue.now()] * 2

    def test_expired_token_leaves_its_name_free(self, catalogue: Catalogue, clock: Clock) -> None:
        catalogue.user_tokens.add(token("a", "ana", expires_at=catalogue.now() + 1000))
        clock.now += 2
        catalogue.user_tokens.add(token("b", "ana"))
        assert catalogue.user_tokens.revoke("ana") == [("b", "ana")]

    def test_rotation_shortens_old_tokens_and_ends_logins(self, catalogue: Catalogue) -> None:
        tokens, now = catalogue.user_tokens, catalogue.now()
        tokens.add(token("a", "ana"))
        new = tokens.rotate("ana", lambda old: old._replace(id="b"), overlap_ms=5000)
        assert new == token("b", "ana")
        rows = {row.id: row for row in tokens.all()}
        assert (rows["a"].expires_at, rows["b"].expires_at) == (now + 5000, None)
        assert tokens.snapshot().ended[subject("logins-of", "ana")].at == now
        soon = tokens.rotate("ana", lambda old: old._replace(id="c"), overlap_ms=9000)
        assert soon
        rows = {row.id: row for row in tokens.all()}
        assert (rows["a"].expires_at, rows["b"].expires_at) == (now + 5000, now + 9000), "an overlap is never extended"
        assert tokens.rotate("bob", lambda old: old, overlap_ms=0) is None

    def test_what_was_ended_is_forgotten_when_it_would_have_expired(self, catalogue: Catalogue, clock: Clock) -> None:
        tokens, now = catalogue.user_tokens, catalogue.now()
        tokens.end({"login:a": Ended(now, now + 1000), "login:b": Ended(now, now + 9000)})
        tokens.end({"login:b": Ended(now + 1, now + 9000)})
        assert tokens.snapshot().ended == {"login:a": Ended(now, now + 1000), "login:b": Ended(now + 1, now + 9000)}
        clock.now += 5
        assert tokens.snapshot().ended.keys() == {"login:b"}
        tokens.end({"login:c": Ended(now, now + 9000)})
        clock.now -= 5
        assert tokens.snapshot().ended.keys() == {"login:b", "login:c"}

    def test_use_of_a_token_is_noted(self, catalogue: Catalogue) -> None:
        catalogue.user_tokens.add(token("a", "ana"))
        catalogue.user_tokens.mark_used(["a", "unknown"], at=77)
        assert catalogue.user_tokens.all() == [token("a", "ana", used_at=77)]

    def test_queries_find_what_the_scope_includes(self, catalogue: Catalogue) -> None:
        for gateway, session in itertools.product(GATEWAYS, SESSIONS):
            url = "http://a.example/"
            catalogue.accept(Attachment(gateway=gateway, session=session, message_id="m", url=url))
        exact = [SessionPattern(gateway, name) for gateway in (None, "waha", "wa%") for name in SESSIONS]
        prefixed = [SessionPattern(gateway, name, True) for gateway in (None, "WAHA") for name in PREFIXES]
        scopes = [Scope((pattern,)) for pattern in (*exact, *prefixed)]
        for scope in (*scopes, Scope((exact[0], prefixed[-1], exact[-1])), ALL_SESSIONS, NO_SESSIONS):
            included = {pair for pair in itertools.product(GATEWAYS, SESSIONS) if scope.includes(*pair)}
            listed = catalogue.find(Filters(), limit=100, scope=scope)
            assert {(record.gateway, record.session) for record in listed} == included, scope
            assert catalogue.count(Filters(), scope=scope) == len(included)
            found = catalogue.search.find("m", Filters(), limit=100, scope=scope)
            assert {(record.gateway, record.session) for record in found.records} == included, scope
            assert catalogue.failures.find(scope=scope) == []
        assert set(catalogue.sessions.gateways_of("shop")) == set(GATEWAYS)
        assert catalogue.sessions.gateways_of("unknown") == []
