"""Every gateway has all of its parts: a test sender, payload samples, settings, and a section with a trial in the docs.

A failure names the part that a new gateway lacks; CONTRIBUTING.md has the whole list.
"""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from pipeline.config.settings import Settings
from pipeline.gateways import GATEWAYS
from tests.support.documents import blocks
from tests.support.gateway_senders import SENDERS, SETTINGS
from tests.support.payloads import names
from tests.support.system import ROOT

WITH_DOCS = [name for name in GATEWAYS if name != "media"]


def test_every_gateway_has_a_test_sender() -> None:
    assert list(SENDERS) == list(GATEWAYS)


@pytest.mark.parametrize("gateway", WITH_DOCS)
def test_gateway_has_payload_samples_with_and_without_media(gateway: str) -> None:
    samples = names(gateway)
    assert [name for name in samples if name.startswith("ignored_")], "add tests/payloads/NAME/ignored_….json"
    assert len(samples) >= 6, "add one sample for each kind of media to tests/payloads/NAME"


@pytest.mark.parametrize("gateway", WITH_DOCS)
def test_gateway_has_a_secret_setting_that_the_tests_know(gateway: str) -> None:
    fields = [name for name in Settings.model_fields if name.startswith(f"{gateway}_")]
    assert fields, "add the gateway's settings to pipeline/config/gateways.py"
    assert any(SecretStr.__name__ in str(Settings.model_fields[name].annotation) for name in fields)
    assert any(name.upper() in SETTINGS for name in fields), "add its secret to tests/support/gateway_senders.py"


@pytest.mark.parametrize("gateway", WITH_DOCS)
def test_gateway_has_a_section_with_a_trial_in_the_docs(gateway: str) -> None:
    section = SENDERS[gateway].section
    assert section
    trial = [block for block in blocks("gateways.md", section) if (block.language, block.heading) == ("sh", "A trial")]
    assert trial, f"add a section {section!r} with a trial to docs/gateways.md"


@pytest.mark.parametrize("page", ["docs/gateways.md", "docs/gateways.pt-BR.md", "README.md", "README.pt-BR.md"])
def test_pages_mention_every_hook(page: str) -> None:
    path = ROOT / page
    assert path.exists()
    text = path.read_text()
    missing = [name for name in WITH_DOCS if f"/hooks/{name}" not in text]
    assert not missing, f"{page} does not mention the hooks of {missing}"
