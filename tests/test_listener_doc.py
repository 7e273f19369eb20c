"""The Python listener of docs/listener.md works as printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PayloadError

DOC = Path(__file__).parent.parent / "docs" / "listener.md"
MESSAGE = {"id": "m1", "type": "image", "deprecatedMms3Url": "https://media.example/x", "mediaKey": [1] * 32}


@pytest.fixture
def listener() -> dict[str, Any]:
    [example] = [code for code in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.S) if "def attachment" in code]
    names: dict[str, Any] = {}
    exec(example, names)
    return names


def test_listener_builds_an_attachment(listener: dict[str, Any]) -> None:
    made = listener["attachment"](MESSAGE, "shop")
    assert (made.session, made.message_id, made.kind, made.url) == ("shop", "m1", "image", "https://media.example/x")
    assert made.media_key


@pytest.mark.parametrize(("change", "field"), [({"type": "vcard"}, "kind"), ({"deprecatedMms3Url": ""}, "url")])
def test_listener_names_the_wrong_field(listener: dict[str, Any], change: dict[str, str], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        listener["attachment"](MESSAGE | change, "shop")
    assert caught.value.field == field
