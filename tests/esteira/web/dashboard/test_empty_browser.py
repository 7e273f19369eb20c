"""Empty pages say what to do next."""

from __future__ import annotations

import subprocess

from tests.support.browser import Browser
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN


def test_first_attachment_is_sent_with_the_command_of_the_page(system: RunningSystem, someone: Browser) -> None:
    someone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = someone.log_in("/dashboard/media")
    page.wait_for_selector("text=No attachments yet.")
    page.click(".copyable button")
    page.wait_for_selector("button:text-is('Copied')")
    command = str(page.evaluate("navigator.clipboard.readText()"))
    env = {"API_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    page.click("text=Show them")
    page.wait_for_selector("tr:has-text('first.png')")
    with system.workers():
        page.wait_for_selector("tr:has-text('first.png') .badge.done")


def test_filters_without_a_match_can_be_cleared(someone: Browser) -> None:
    page = someone.log_in("/dashboard/media")
    page.goto(someone.url("/dashboard/media?status=done"))
    page.wait_for_selector(".empty:has-text('Nothing matches these filters.')")
    page.click(".empty a")
    page.wait_for_url("**/dashboard/media")
    page.goto(someone.url("/dashboard/audit?who=nobody"))
    page.click(".empty a")
    page.wait_for_url("**/dashboard/audit")


def test_webhooks_page_says_how_to_set_an_endpoint(someone: Browser) -> None:
    page = someone.log_in("/dashboard/webhooks")
    page.wait_for_selector(".copyable code:has-text('WEBHOOK_URL=')")
