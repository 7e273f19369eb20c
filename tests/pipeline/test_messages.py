"""Error messages in Portuguese: every message that an attachment can end with has one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.errors import Code
from pipeline.remedies import messages
from pipeline.remedies.messages import translated
from pipeline.remedies.portuguese_messages import MESSAGES
from pipeline.sandbox.refusals import FORMS, VOCABULARIES, Reason
from pipeline.sandbox.terms import LAYERS

# The packages whose errors are stored with an attachment.
FOLDERS = ("gateways", "http_client", "media_types", "sandbox", "security", "steps", "storage")
# Errors of requests, settings and commands: they are not stored with an attachment.
OTHERS = {"BAD_PAYLOAD", "BAD_SETTING", "UNAUTHORIZED", "FORBIDDEN"}
VALUE = "x7"  # in place of a value


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("english", sorted(MESSAGES))
def test_translations_keep_the_values(english: str) -> None:
    assert fields(english) == fields(MESSAGES[english])
    assert MESSAGES[english].strip() == MESSAGES[english] != ""


def text_of(node: ast.expr) -> str | None:
    """A literal text, with VALUE in place of each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)
    return None


def messages_of(path: Path) -> Iterator[str]:
    """The texts that stand beside a code, and those of variables that do."""
    tree = ast.parse(path.read_text())
    named: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg in {"code", "message"})]
        codes = [one.attr for one in given if isinstance(one, ast.Attribute) and ast.unparse(one).startswith("Code.")]
        if not codes or codes[0] in OTHERS:
            continue
        for argument in given:
            sources = named.get(argument.id, []) if isinstance(argument, ast.Name) else [argument]
            yield from filter(None, map(text_of, sources))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_message_of_an_attachment_has_a_translation(folder: str) -> None:
    found = {
        (path.name, message)
        for path in (Path(pipeline.__file__).parent / folder).rglob("*.py")
        for message in messages_of(path)
    }
    known = {f"{VALUE}: {VALUE}"}  # the text of a library, see the test of TLS errors below
    missing = {(name, text) for name, text in found if translated(text, "pt-BR") == text and text not in known}
    assert missing == set()


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_every_reason_of_a_refusal_has_a_translation(reason: Reason) -> None:
    values = {field: sorted(VOCABULARIES[field])[0] if field in VOCABULARIES else 7 for field in reason.fields}
    message = reason.text.format(**values)
    assert translated(message, "pt-BR") != message
    assert translated(message, "en") == message


def test_parts_of_messages_are_translated_too() -> None:
    for form in FORMS:
        if " " in form:
            assert translated(form, "pt-BR") != form
    for layer in LAYERS.values():
        assert translated(f"a decoder process {layer} (Operation not permitted). SANDBOX_CONFINEMENT=best-effort "
                          "decodes without it.", "pt-BR").endswith("decodifica sem isso.")  # fmt: skip
    said = translated("fetch_timeout: crm.example did not answer in time", "pt-BR")
    assert said == "fetch_timeout: crm.example não respondeu a tempo"
    assert translated("declared image/png, is image/jpeg; named .png, is .jpeg", "pt-BR") == (
        "declarado image/png, é image/jpeg; com nome .png, é .jpeg"
    )


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Evolution API answers 500: no connection", "Evolution API responde 500: no connection"),
        ("WAHA was asked: WAHA did not answer in time", "perguntado, WAHA: WAHA não respondeu a tempo"),
        (
            "GOWA's answer cannot be read: it is no JSON; check the server's URL",
            "a resposta de GOWA não pode ser lida: não é JSON; confira a URL do servidor",
        ),
        ("WAHA has the file", "WAHA tem o arquivo"),
    ],
)
def test_answers_of_a_source_and_its_gateway_are_translated_together(answer: str, shown: str) -> None:
    assert translated(f"a.example answers 410; {answer}", "pt-BR") == f"a.example responde 410; {shown}"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("certificate has expired", "o certificado expirou"),
        ("Hostname mismatch, certificate is not valid for 'a.example'.", "o certificado não vale para 'a.example'"),
        ("a reason of a newer OpenSSL", "a reason of a newer OpenSSL"),
    ],
)
def test_reasons_of_tls_errors_are_translated(reason: str, shown: str) -> None:
    assert translated(f"a.example: {reason}", "pt-BR") == f"a.example: {shown}"


@pytest.mark.parametrize(
    "message",
    ["", "a text of a newer version", "{host} {0} %s", "cannot be read as " * 30, "a: b; c: d; " * 40, "x" * 500],
)
def test_other_messages_and_hostile_ones_stay_texts(message: str) -> None:
    shown = translated(message, "pt-BR")
    assert translated(message, "en") == message
    assert len(shown) < 2000
    if not re.search("cannot be read as", message):
        assert shown == message


def test_codes_stay_as_they_are() -> None:
    for code in Code:
        assert translated(f"{code}: the file is empty", "pt-BR") == f"{code}: o arquivo está vazio"


@pytest.mark.parametrize("template", [english for english in MESSAGES if "{" in english])
@given(data=st.data())
def test_values_are_found_in_every_message_of_a_template(template: str, data: st.DataObject) -> None:
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    values = {name: data.draw(st.text(min_size=1)) for name in names}
    message = template.format(**values)
    found = messages._template(template).values_in(message)
    assert found is not None
    assert template.format(**found) == message


def test_message_of_another_form_has_no_values() -> None:
    template = messages._template("{size} bytes of {name}, not {other}")
    assert template.values_in("7 bytes of a.jpg, not b.jpg") == {"size": "7", "name": "a.jpg", "other": "b.jpg"}
    for other in ("7 bytes of a.jpg", " bytes of a, not b", "7 bytes of , not b", "7 bytes of a, not ", ""):
        assert template.values_in(other) is None
