"""The OpenAPI description of the app: FastAPI's, with each operation's errors and with examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI

from esteira.web.api.examples import EXAMPLES
from esteira.web.errors import ErrorReply
from pipeline.errors import Code

JSON = "application/json"
ERROR_SCHEMA = {"$ref": f"#/components/schemas/{ErrorReply.__name__}"}
TAGS = {
    "intake": "Gateways and programs hand over attachments.",
    "media": "Attachments: their records, contents, links and replays.",
    "failures": "What did not succeed, grouped by its reason.",
    "control": "Pauses.",
    "webhooks": "Endpoints that receive events, and the deliveries to them.",
    "system": "The state of the system, its workers, and the audit log.",
}


class RefusalExample(NamedTuple):
    """What a status means, with the body of one such answer."""

    description: str
    code: Code
    message: str
    reason: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body of such an answer."""
        reason = {"reason": self.reason} if self.reason else {}
        return {"error": {"code": self.code, "message": self.message, **reason}}


REFUSALS = {
    400: RefusalExample("A field or parameter is wrong; the message names it", Code.BAD_PAYLOAD, "limit: is empty"),
    401: RefusalExample(
        "The token or secret is missing or wrong",
        Code.UNAUTHORIZED,
        "no secret was sent: send the API_TOKEN or another token of this server as Authorization: Bearer",
        "missing",
    ),
    403: RefusalExample(
        "The token may not do this", Code.FORBIDDEN, "the role viewer does not allow this: it needs operator or admin"
    ),
    404: RefusalExample(
        "There is no such attachment in the sessions of the token",
        Code.NOT_FOUND,
        "unknown: there is no such attachment",
    ),
    409: RefusalExample(
        "The attachment is in another state",
        Code.NOT_ENDED,
        "the attachment is received; only finished attachments can be deleted",
    ),
    410: RefusalExample("The attachment is deleted", Code.NOT_FOUND, "the attachment is deleted"),
    413: RefusalExample("The body is too large", Code.TOO_LARGE, "the body is larger than 65536 bytes"),
    416: RefusalExample("The range is outside the content", Code.BAD_PAYLOAD, "the content has 48213 bytes"),
    422: RefusalExample(
        "With `content=1`: the attachment did not succeed; `code` is that of its record",
        Code.BROKEN,
        "the picture cannot be decoded",
    ),
    429: RefusalExample(
        "Too many calls at the same time, or too many wrong tokens: try again after Retry-After",
        Code.TOO_MANY_REQUESTS,
        "this token has 16 calls that are not answered yet",
    ),
    503: RefusalExample(
        "Temporarily unavailable: try again after Retry-After", Code.CATALOGUE, "the catalogue does not answer"
    ),
}
HOOK_REFUSALS = REFUSALS | {
    400: RefusalExample(
        "The body is malformed, or a field of it or a parameter is wrong; the message names it",
        Code.BAD_PAYLOAD,
        "session: is missing, and DEFAULT_SESSION is not set",
    ),
    404: RefusalExample("There is no such hook", Code.NOT_FOUND, "Not Found"),
    408: RefusalExample(
        "The body arrives too slowly", Code.BAD_PAYLOAD, "the upload arrives too slowly: 48213 bytes so far"
    ),
    413: RefusalExample(
        "The body is larger than MAX_BODY_MB, an upload larger than MAX_UPLOAD_MB",
        Code.TOO_LARGE,
        "the body is larger than 64000000 bytes",
    ),
}
OTHERS = "Another refusal: the body names its code"


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may refuse a call in these ways, beside those that every route may."""
    return {status: {"model": ErrorReply, "description": REFUSALS[status].description} for status in statuses}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description of an app."""
    description = app.openapi()
    description["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, method, operation in _operations(description):
        responses = operation["responses"]
        for status in _general_statuses(path, method, operation):
            responses.setdefault(str(status), {})
        examples = HOOK_REFUSALS if path.startswith("/hooks/{") else REFUSALS
        for status, response in responses.items():
            _complete(response, examples.get(int(status)) if status.isdecimal() else None)
        responses["4XX"]["description"] = OTHERS
        _add_example(operation.get("requestBody", {}), title="title")
    return description


def _operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _general_statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    """The refusals that follow from the form of an operation."""
    yield 503
    is_hook = path.startswith("/hooks/")
    if "security" in operation or is_hook:
        yield from (401, 403, 429)
    if "{media_id}" in path or is_hook:
        yield 404
    if path.startswith("/hooks/{"):
        yield 408
    if "requestBody" in operation:
        yield from (400, 413)
    elif any(parameter["in"] == "query" for parameter in operation.get("parameters", ())) and method == "get":
        yield 400


def _complete(response: dict[str, Any], refusal: RefusalExample | None) -> None:
    """Adds what FastAPI does not know: the body of an error, and an example."""
    if refusal is not None and not response:
        response |= {"description": refusal.description, "content": {JSON: {"schema": ERROR_SCHEMA}}}
    if any(content.get("schema") == ERROR_SCHEMA for content in response.get("content", {}).values()):
        response["content"] = {JSON: {"schema": ERROR_SCHEMA}}  # also for routes whose answers are no JSON
        if refusal is not None:
            response["content"][JSON]["example"] = refusal.body
        return
    _add_example(response, title="$ref")


def _add_example(part: dict[str, Any], *, title: str) -> None:
    """Adds the example of a body's schema, which is named by its `$ref` or its `title`."""
    content = part.get("content", {}).get(JSON, {})
    name = content.get("schema", {}).get(title, "").rpartition("/")[2]
    if name in EXAMPLES:
        content["example"] = EXAMPLES[name]
