"""`/openapi.json`: for who may call, and true to the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import validate
from pydantic import SecretStr

from pipeline.security.tokens import TokenSigner
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_describes_every_route_with_its_parameters(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    validate(schema)
    paths = schema["paths"]
    assert {"/media", "/media/{media_id}", "/media/{media_id}/content", "/media/replay", "/stats"} <= set(paths)
    assert set(paths["/media/{media_id}"]) == {"get", "delete"}
    for path, operations in paths.items():
        for operation in operations.values():
            declared = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert sorted(declared) == sorted(re.findall(r"{(\w+)}", path)), path
    names = [operation["operationId"] for operations in paths.values() for operation in operations.values()]
    assert len(names) == len(set(names))
    told = schema["components"]["schemas"]["Record"]["properties"]
    assert ("storage_key" in told, "content" in told) == (False, True)
    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in schema["components"]["schemas"], reference
    assert paths["/healthz"]["get"]["security"] == []


def test_what_it_offers_is_taken(client: TestClient) -> None:
    asked = client.get("/openapi.json").json()["paths"]["/media"]["get"]["parameters"]
    given = {"status": "done", "stage": "fetch", "kind": "image", "since": "2h", "limit": "5"}
    for name in (one["name"] for one in asked if one["name"] != "next"):
        assert client.get("/media", params={name: given.get(name, "x")}).status_code == 200, name


def test_an_empty_page_is_one_that_it_describes(client: TestClient) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/media"]["get"]["responses"]["200"]["content"]
    told = answers["application/json"]["schema"]["properties"]["next"]
    assert client.get("/media").json()["next"] is None
    assert {"type": "null"} in told["anyOf"]


def test_api_05_only_who_may_call_reads_it(client: TestClient) -> None:
    for shown in ("", "Bearer wrong"):
        assert client.get("/openapi.json", headers={"Authorization": shown}).status_code == 401
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", days=1)
    assert client.get("/openapi.json", headers={"Authorization": f"Bearer {session}"}).status_code == 200


NO_CALLS = {  # pages and what belongs to them, the description itself, and HEAD, which goes without saying
    *("/openapi.json", "/docs", "/login", "/logout", "/preferences", "/dashboard/static/{name}", "/socket.io"),
    *("/", "/media/{media_id}/content", "/media/{media_id}/thumbnail"),
}


def routes(found: Iterable[Any]) -> Iterator[tuple[str, str, bool]]:
    """Path, method and whether it is to be described, of each route that has a path."""
    for route in found:
        for method in getattr(route, "methods", None) or ():
            yield re.sub(r":\w+}", "}", route.path), method.lower(), route.include_in_schema


def test_no_call_is_left_out(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, method, described in routes(client.app.routes):
        if described:
            assert method in paths[path], path
        else:
            assert path in NO_CALLS, f"{method} {path} is in no description"
            assert method == "head" or path not in paths, path


def test_every_call_says_what_it_does_and_what_it_takes(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} has no docstring"
            if method in {"post", "put", "patch"}:
                assert "requestBody" in operation, (
                    f"{method} {path} does not say what it takes: see esteira/web/api/schema.py"
                )
