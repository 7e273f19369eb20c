"""`/openapi.json`: valid, complete, and only for callers with a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate
from pydantic import SecretStr

from esteira.web.api.examples import EXAMPLES
from pipeline.models import Status
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client, app_routes


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


@pytest.fixture
def openapi(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_openapi_is_valid_and_all_references_resolve(openapi: Any) -> None:
    validate(openapi)
    paths = openapi["paths"]
    assert {"/media", "/media/{media_id}", "/media/{media_id}/content", "/media/replay", "/stats"} <= set(paths)
    assert set(paths["/media/{media_id}"]) == {"get", "delete"}
    for reference in references(openapi):
        assert reference.removeprefix("#/components/schemas/") in openapi["components"]["schemas"], reference


def test_openapi_declares_path_parameters_and_unique_operation_ids(openapi: Any) -> None:
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            declared = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]
            assert sorted(declared) == sorted(re.findall(r"{(\w+)}", path)), path
    ids = [operation["operationId"] for operations in openapi["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


def test_openapi_hides_internal_fields(openapi: Any) -> None:
    properties = openapi["components"]["schemas"]["MediaItem"]["properties"]
    assert ("storage_key" in properties, "content" in properties) == (False, True)
    assert "sha256" not in openapi["components"]["schemas"]["PreviewInfo"]["properties"]


def test_openapi_names_the_token_where_one_is_needed(openapi: Any) -> None:
    paths = openapi["paths"]
    assert paths["/media"]["get"]["security"] == [{"token": []}]
    assert paths["/media/{media_id}/content"]["get"]["security"] == [{"token": []}, {"link": []}]
    assert "security" not in paths["/healthz"]["get"]


def test_openapi_describes_the_error_body_and_no_422(openapi: Any) -> None:
    error = {"$ref": "#/components/schemas/ErrorReply"}
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            # FastAPI's own, which never occurs. The hooks have one of theirs.
            assert "422" not in operation["responses"] or path.startswith("/hooks/"), path
            assert operation["responses"]["4XX"]["content"]["application/json"]["schema"] == error, path


def described_operations(openapi: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            yield f"{method} {path}", operation


def resolved(openapi: Any, schema: Any) -> Any:
    """The schema with the components that it refers to, as JSON Schema."""
    return {**schema, "components": openapi["components"]}


def test_every_operation_has_a_summary_a_tag_and_described_parameters(openapi: Any) -> None:
    tags = {tag["name"] for tag in openapi["tags"]}
    for name, operation in described_operations(openapi):
        assert operation["summary"], name
        assert len(tags.intersection(operation["tags"])) == len(operation["tags"]) == 1, name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or parameter["schema"].get("description"), (name, parameter["name"])


def test_every_operation_has_a_success_and_all_its_refusals(openapi: Any) -> None:
    for name, operation in described_operations(openapi):
        statuses = set(operation["responses"])
        assert any(status.startswith("2") for status in statuses), name
        assert "503" in statuses, name
        if "security" in operation or "/hooks/{" in name:
            assert {"401", "403", "429"} <= statuses, name
        if "{media_id}" in name:
            assert "404" in statuses, name
        if "requestBody" in operation:
            assert {"400", "413"} <= statuses, name


def test_every_json_answer_has_a_schema_and_an_example_that_fits_it(openapi: Any) -> None:
    checked = 0
    for name, operation in described_operations(openapi):
        parts = [*operation["responses"].items(), ("body", operation.get("requestBody", {}))]
        for status, part in parts:
            for media_type, content in part.get("content", {}).items():
                assert content["schema"], (name, status)
                if media_type == "application/json" and status != "4XX":
                    OAS31Validator(resolved(openapi, content["schema"])).validate(content["example"])
                    checked += 1
    assert checked > 100


def test_every_text_has_an_example_and_only_bytes_have_none(openapi: Any) -> None:
    for name, operation in described_operations(openapi):
        parts = [*operation["responses"].items(), ("body", operation.get("requestBody", {}))]
        for status, content in (
            (status, content) for status, part in parts for content in part.get("content", {}).values()
        ):
            is_binary = content["schema"].get("format") == "binary"
            assert is_binary or "example" in content or status == "4XX", (name, status)


def test_hook_describes_what_becomes_of_an_upload(openapi: Any) -> None:
    hook = openapi["paths"]["/hooks/{gateway}"]["post"]
    assert hook["responses"]["408"]["content"]["application/json"]["example"]["error"]["code"] == "bad_payload"
    assert hook["responses"]["404"]["description"] == "There is no such hook"
    assert "X-Attachment-Id" in hook["responses"]["202"]["headers"]
    finished, ignored = hook["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert (finished["$ref"], ignored["$ref"]) == ("#/components/schemas/MediaItem", "#/components/schemas/HookReply")


def test_example_of_a_missing_token_is_the_answer(client: TestClient, openapi: Any) -> None:
    answer = client.get("/media", headers={"Authorization": ""})
    examples = openapi["paths"]["/media"]["get"]["responses"]["401"]["content"]["application/json"]["example"]
    assert answer.json() == examples


def test_examples_are_all_used(openapi: Any) -> None:
    shown = [
        content["example"]
        for _, operation in described_operations(openapi)
        for part in (*operation["responses"].values(), operation.get("requestBody", {}))
        for content in part.get("content", {}).values()
        if "example" in content
    ]
    assert [name for name, example in EXAMPLES.items() if example not in shown] == []


def test_answers_fit_their_schemas(system: RunningSystem, client: TestClient, openapi: Any) -> None:
    ended = finished(system.services.catalogue, Status.EXPIRED, of=system.attachment())
    client.post("/pause", json={"session": "s1"})
    client.post(f"/media/{ended.id}/link", json={})
    for path, operations in openapi["paths"].items():
        if "get" not in operations or path in {"/hooks/cloud", "/metrics"} or path.endswith(("content", "thumbnail")):
            continue
        answer = client.get(path.replace("{media_id}", ended.id))
        content = operations["get"]["responses"]["200"]["content"]["application/json"]
        assert answer.status_code == 200, path
        OAS31Validator(resolved(openapi, content["schema"])).validate(answer.json())
        properties = openapi["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]["properties"]
        assert set(answer.json()) == set(properties), path


REFUSED = {
    "unknown id": ("get", "/media/unknown", None, 404),
    "empty parameter": ("get", "/media?limit=", None, 400),
    "not ended": ("delete", "/media/{received}", None, 409),
    "no replay": ("post", "/media/{received}/replay", {}, 409),
    "no content": ("get", "/media/{expired}/content", None, 404),
    "body too large": ("post", "/pause", {"session": "x" * 70_000}, 413),
    "body unknown": ("post", "/media/replay", {"colour": "red"}, 400),
}


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_are_those_that_openapi_lists(
    system: RunningSystem, client: TestClient, openapi: Any, method: str, path: str, body: Any, status: int
) -> None:
    ids = {
        "received": system.services.catalogue.accept(system.attachment()).id,
        "expired": finished(system.services.catalogue, Status.EXPIRED, of=system.attachment(message_id="e")).id,
    }
    answer = client.request(method, path.format(**ids), json=body)
    assert answer.status_code == status, answer.text
    template = re.sub(r"\?.*", "", path.format(received="{media_id}", expired="{media_id}"))
    operation = openapi["paths"][template.replace("/media/unknown", "/media/{media_id}")][method]
    assert str(status) in operation["responses"]
    OAS31Validator(resolved(openapi, {"$ref": "#/components/schemas/ErrorReply"})).validate(answer.json())


def test_openapi_parameters_are_accepted(client: TestClient, openapi: Any) -> None:
    values = {"status": "done", "stage": "fetch", "kind": "image", "since": "2h", "limit": "5"}
    for parameter in openapi["paths"]["/media"]["get"]["parameters"]:
        name = parameter["name"]
        if name != "next":
            assert client.get("/media", params={name: values.get(name, "x")}).status_code == 200, name


def test_openapi_allows_null_as_next(client: TestClient, openapi: Any) -> None:
    field = openapi["components"]["schemas"]["MediaPage"]["properties"]["next"]
    assert client.get("/media").json()["next"] is None
    assert {"type": "null"} in field["anyOf"]


def test_api_05_openapi_needs_a_token(client: TestClient) -> None:
    for header in ("", "Bearer wrong"):
        assert client.get("/openapi.json", headers={"Authorization": header}).status_code == 401
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    assert client.get("/openapi.json", headers={"Authorization": f"Bearer {session}"}).status_code == 200


UNDESCRIBED = {  # pages and their files, the description itself, and HEAD
    *("/openapi.json", "/docs", "/docs/{name}", "/login", "/logout", "/preferences", "/dashboard/static/{name}"),
    *("/socket.io", "/", "/media/{media_id}/content", "/media/{media_id}/thumbnail"),
}


def test_openapi_describes_every_call(client: TestClient, openapi: Any) -> None:
    for route in app_routes(client.app):
        if route.described:
            assert route.method in openapi["paths"][route.path], route
        else:
            assert route.path in UNDESCRIBED, route
            assert route.method == "head" or route.path not in openapi["paths"], route


def test_every_call_has_a_description_and_its_body_a_schema(openapi: Any) -> None:
    without_body = {"/media/{media_id}/cancel"}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} has no docstring"
            assert ("requestBody" in operation) is (method == "post" and path not in without_body), path
