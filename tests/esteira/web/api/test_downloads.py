"""No link, token or address uses all downloads."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from esteira.web.api.downloads import Downloads
from pipeline.config.settings import Settings
from pipeline.errors import Code, RetryableError

PER_LINK, PER_ADDRESS = 2, 5


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(Settings(var_dir=tmp_path, downloads_per_link=PER_LINK, downloads_per_address=PER_ADDRESS))


@pytest.mark.parametrize(
    ("address", "link", "token", "most"),
    [
        ("{}", "link", None, PER_LINK),
        ("address", "{}", None, PER_ADDRESS),
        ("{}", None, "token", PER_ADDRESS),
        ("{}", "{}", "token", PER_ADDRESS),  # links that one token has made
    ],
    ids=["link", "address", "token", "links of a token"],
)
def test_so_many_downloads_are_accepted_and_no_more(
    downloads: Downloads, address: str, link: str | None, token: str | None, most: int
) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(most + 1):
            slot = downloads.slot(
                address=address.format(number), link=link.format(number) if link else None, token=token
            )
            if number < most:
                stack.enter_context(slot)
                continue
            with pytest.raises(RetryableError) as raised:
                stack.enter_context(slot)
            assert raised.value.code is Code.TOO_MANY_REQUESTS
        stack.enter_context(downloads.slot(address="other", link="other", token="other"))
