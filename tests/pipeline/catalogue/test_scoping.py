"""Queries within a scope: SQL finds the same sessions as `Scope.includes`, whatever characters their names have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Attachment
from pipeline.security.scopes import ALL_SESSIONS, NO_SESSIONS, Scope, SessionPattern, one_session

GATEWAYS = ("waha", "WAHA", "*", "wa%")
SESSIONS = ("shop", "SHOP", "shop-1", "shop_1", "sh%p", "50*", "5[0]", "é", "a:b", "a,b", "\\")
patterns = st.builds(
    SessionPattern,
    st.none() | st.sampled_from(GATEWAYS),
    st.sampled_from(SESSIONS) | st.sampled_from(["", "sh", "s%", "_", "50", "*"]),
    st.booleans(),
)
scopes = st.just(ALL_SESSIONS) | st.lists(patterns, max_size=3).map(lambda chosen: Scope(tuple(chosen)))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    catalogue = Catalogue(f"sqlite:///{tmp_path_factory.mktemp('scoping')}/catalogue.db")
    catalogue.migrate()
    for gateway in GATEWAYS:
        for session in SESSIONS:
            catalogue.accept(Attachment(gateway=gateway, session=session, message_id="m", url="http://a.example/"))
    yield catalogue
    catalogue.close()


@given(scopes)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_listing_count_and_search_find_what_the_scope_includes(catalogue: Catalogue, scope: Scope) -> None:
    expected = {(gateway, name) for gateway in GATEWAYS for name in SESSIONS if scope.includes(gateway, name)}
    listed = catalogue.find(Filters(), limit=200, scope=scope)
    assert {(record.gateway, record.session) for record in listed} == expected
    assert catalogue.count(Filters(), scope=scope) == len(expected)
    found = catalogue.search.find("m", Filters(), limit=200, scope=scope)
    assert {(record.gateway, record.session) for record in found.records} == expected


def test_gateways_of_a_session(catalogue: Catalogue) -> None:
    assert catalogue.sessions.gateways_of("shop") == sorted(GATEWAYS)
    assert catalogue.sessions.gateways_of("nothing") == []
    assert catalogue.sessions.gateways_of_each(["shop", "nothing"]) == {"shop": sorted(GATEWAYS), "nothing": []}
    assert catalogue.find(Filters(session="shop"), scope=one_session("waha", "SHOP")) == []
    assert catalogue.find(Filters(), scope=NO_SESSIONS) == []
