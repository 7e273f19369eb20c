"""The description of the API as a page for people: markup without a script, every word of it escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1b2330; --soft: #5b6779; --line: #d9dee7; --paper: #fff; --shade: #f4f6f9;
  --mark: #0b6e63; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf1; --soft: #a3aec0; --line: #323c4d; --paper: #12171f;
  --shade: #1b2230; --mark: #5fd0c1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
a { color: var(--mark); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
code, pre { font: 0.9em/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: var(--shade); padding: 0.75rem; overflow-x: auto; overflow-wrap: normal; }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; padding-top: 0.5rem; }
h2 { font-size: 1.15rem; overflow-wrap: anywhere; }
.method { display: inline-block; min-width: 4.2em; font-size: 0.8em; color: var(--mark); }
.soft { color: var(--soft); }
nav ul { list-style: none; padding: 0; columns: 20rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.75rem 0.3rem 0; text-align: left;
  vertical-align: top; }
"""
_digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICY = f"{CLOSED}; style-src 'sha256-{_digest}'; img-src data:"  # for the icon, or browsers ask for one
FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>{title} API <span class="soft">{version}</span></h1>
<p>Where nothing else is said, a call shows a token: <code>Authorization: Bearer …</code>, with the
<code>API_TOKEN</code>, or for reading with a session's token. Hooks are let in by their gateway's own secret. For
programs: <a href="/openapi.json">/openapi.json</a>.</p>
<pre><code>curl -H "Authorization: Bearer $API_TOKEN" {address}/media</code></pre>
<nav aria-label="Calls"><ul>
{contents}
</ul></nav>
{operations}
{models}
</main>
</body>
</html>
"""
REF = "#/components/schemas/"
LIMITS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "maxLength": "at most",
    "minLength": "at least",
}


def page(described: Mapping[str, Any], *, address: str) -> str:
    """An OpenAPI description as HTML. `address` is where the reader's browser found this server."""
    calls = [
        (method, path, operation)
        for path, operations in sorted(described["paths"].items())
        for method, operation in operations.items()
    ]
    models = described["components"]["schemas"]
    return FRAME.format(
        title=escape(described["info"]["title"]),
        version=escape(described["info"]["version"]),
        style=STYLE,
        address=escape(address),
        contents="\n".join(f'<li><a href="#{_anchor(call)}">{_heading(call)}</a></li>' for call in calls),
        operations="\n".join(_operation(call) for call in calls),
        models="\n".join(_model(name, models[name]) for name in sorted(models)),
    )


Call = tuple[str, str, Mapping[str, Any]]


def _anchor(call: Call) -> str:
    return escape(str(call[2]["operationId"]))


def _heading(call: Call) -> str:
    return f'<code><span class="method">{escape(call[0].upper())}</span> {escape(call[1])}</code>'


def _operation(call: Call) -> str:
    _, _, told = call
    body = told.get("requestBody", {}).get("content", {})
    parts = [
        f'<section id="{_anchor(call)}"><h2>{_heading(call)}</h2>',
        _prose(told.get("description", "")),
        _needs(told.get("security")),
        _table(
            ("Parameter", "in", "", ""),
            (
                (f"<code>{escape(one['name'])}</code>", escape(one["in"]), *_shape(one["schema"]))
                for one in told["parameters"]
            ),
        ),
        *(f"<p>Body ({escape(kind)}): {' '.join(_shape(one['schema']))}</p>" for kind, one in body.items()),
        *(_answer(status, answer) for status, answer in told["responses"].items()),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _needs(security: list[Any] | None) -> str:
    if security is None:
        return ""
    return "<p>Needs a token or a signed link.</p>" if security else "<p>Needs nothing.</p>"


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    kinds = answer.get("content", {}).items()
    told = [f"{escape(kind)}: {' '.join(_shape(one['schema']))}" for kind, one in kinds if one.get("schema")]
    return f"<p>Answers <code>{escape(status)}</code>{', ' if told else ''}{'; '.join(told)}</p>"


def _model(name: str, model: Mapping[str, Any]) -> str:
    needed = model.get("required", ())
    rows = (
        (f"<code>{escape(field)}</code>{' <b>required</b>' if field in needed else ''}", *_shape(shape))
        for field, shape in model.get("properties", {}).items()
    )
    values = f"<p>{_type(model)}</p>" if "enum" in model else ""
    head = f'<section id="{escape(name)}"><h2>{escape(name)}</h2>'
    return "\n".join(
        (head, _prose(model.get("description", "")), values, _table(("Field", "", ""), rows), "</section>")
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are markup already; nothing where there is no row."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _shape(schema: Mapping[str, Any]) -> tuple[str, str]:
    """What a value is, and what else is to be known of it."""
    limits = [f"{word} {schema[name]}" for name, word in LIMITS.items() if name in schema]
    default = [f"else {schema['default']}"] if schema.get("default") is not None else []
    notes = ", ".join(escape(str(note)) for note in (*limits, *default))
    return _type(schema), ". ".join(part for part in (notes, _marked(schema.get("description", ""))) if part)


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).removeprefix(REF))
        return f'<a href="#{name}">{name}</a>'
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "allOf" in schema:
        return " with ".join(_type(one) for one in schema["allOf"])
    if "items" in schema:
        return f"list of {_type(schema['items'])}"
    if schema.get("properties"):
        fields = ", ".join(f"<code>{escape(name)}</code> {_type(one)}" for name, one in schema["properties"].items())
        return f"object: {fields}"
    return escape(str(schema.get("const", schema.get("type", ""))))


def _prose(text: str) -> str:
    return "\n".join(f"<p>{_marked(part)}</p>" for part in re.split(r"\n\s*\n", text.strip()) if part)


def _marked(text: str) -> str:
    """Text with its `code` as such."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
