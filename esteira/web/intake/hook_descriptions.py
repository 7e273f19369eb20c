"""The OpenAPI descriptions of the hooks, whose requests FastAPI does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.gateways import GATEWAYS
from pipeline.models import Attachment
from pipeline.models.attachment import GATEWAY_ONLY

# OpenAPI's description of the call with which Meta checks an address.
CHALLENGE: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "query", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in (
            ("hub.mode", "`subscribe`"),
            ("hub.verify_token", "The CLOUD_VERIFY_TOKEN, as it is entered at Meta."),
            ("hub.challenge", "The text that is returned."),
        )
    ],
    "responses": {"200": {"content": {"text/plain": {"example": "1158201444"}}}},
}
PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "gateway": {"description": "The gateway; `media` takes the generic JSON.", "values": {"enum": list(GATEWAYS)}},
    "secret": {"description": "The secret of a gateway that can send no header.", "values": {}},
}
# Query parameters and answers of `media` only.
WAITING: list[dict[str, Any]] = [
    {
        "name": "wait",
        "in": "query",
        "description": "Only for `media`: answer with the result, if it is there within so many seconds (0 to 300).",
        "schema": {"type": "number", "minimum": 0, "maximum": 300},
    },
    {
        "name": "content",
        "in": "query",
        "description": "With `wait`: `1` answers with the bytes instead of the record.",
        "schema": {"type": "string", "enum": ["0", "1"]},
    },
]
ID_HEADER = {"X-Attachment-Id": {"description": "The id of the attachment.", "schema": {"type": "string"}}}
RECORD_OR_REPLY = [{"$ref": "#/components/schemas/MediaItem"}, {"$ref": "#/components/schemas/HookReply"}]
IGNORED = {"accepted": [], "ignored": 1, "ignored_by_rule": {"2": 1}}
RESULT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `wait`: the finished record, or with `content=1` the bytes. If INTAKE_RULES ignore the "
        "attachment, `ignored_by_rule` says which rule",
        "headers": ID_HEADER,
        "content": {
            "application/json": {"schema": {"anyOf": RECORD_OR_REPLY}, "example": IGNORED},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    202: {
        "description": "Every attachment in the body is written to disk; with `wait`, it has no result yet",
        "headers": {"X-Attachment-Id": {**ID_HEADER["X-Attachment-Id"], "description": "With `wait`: its id."}},
    },
    422: {
        "description": "With `content=1`: the attachment did not succeed; `code` is that of its record",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    },
}
EXAMPLE = {
    "session": "shop",
    "message_id": "order-812",
    "url": "https://files.example/photo.jpg",
    "kind": "image",
    "chat": "5511999990000",
    "caption": "nota 12/2026",
}
FORM_EXAMPLE = {"file": "the bytes of the file", "session": "shop", "caption": "nota 12/2026"}


def description(path_parameters: Sequence[str]) -> dict[str, Any]:
    """The OpenAPI description of the request, which is read as raw bytes because signatures cover them.

    Path parameters are not declared in `receive` either: FastAPI's validation takes another 18 µs per request.
    """
    attachment = Attachment.model_json_schema(ref_template="#/components/schemas/{model}")
    attachment.pop("$defs")  # Kind, which the response models add to the components
    attachment["properties"] = {
        name: schema for name, schema in attachment["properties"].items() if name not in GATEWAY_ONLY
    }
    payload = {
        "description": "The gateway's own webhook payload. For `media`: an attachment, or a list of 1 to 1000.",
        "anyOf": [attachment, {"type": "array", "items": {"type": "object"}}, {"type": "object"}],
    }
    parameters = [{"name": name, "in": "path", "required": True, **_path_parameter(name)} for name in path_parameters]
    parameters += WAITING
    text = {"type": "string"}
    fields = {name: text for name in attachment["properties"] if name not in {"url", "data", "direct_path"}}
    form = {
        "description": "Only for `media`: files, and the fields of an attachment as text. Several files are its parts.",
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}, **fields},
    }
    content = {
        "application/json": {"schema": payload, "example": EXAMPLE},
        "multipart/form-data": {"schema": form, "example": FORM_EXAMPLE},
    }
    body = {"required": True, "content": content}
    return {"parameters": parameters, "requestBody": body}


def _path_parameter(name: str) -> dict[str, Any]:
    parameter = PATH_PARAMETERS[name]
    return {"description": parameter["description"], "schema": {"type": "string", **parameter["values"]}}
