"""The pages of the dashboard in the order of the navigation. To add one, see `esteira.web.dashboard.shell`."""

from __future__ import annotations

from esteira.web.dashboard.pages import audit, failures, item, media, now, sessions, webhooks
from esteira.web.dashboard.shell import Page

PAGES: tuple[Page, ...] = (
    now.PAGE,
    media.PAGE,
    item.PAGE,
    failures.PAGE,
    sessions.PAGE,
    webhooks.PAGE,
    audit.PAGE,
)
