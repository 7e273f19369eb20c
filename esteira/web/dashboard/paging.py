"""Links between the pages of a list: back to the newest entries, and on to older ones."""

from __future__ import annotations

from esteira.web.dashboard.parts import box, link
from esteira.web.dashboard.view import View


def page_links(view: View, label: str, *, newest: str | None, older: str | None) -> None:
    """Adds the links to these paths; nothing if both are None. `label` is the name of the list."""
    if newest is None and older is None:
        return
    with box("nav", "turning", aria_label=label):
        if newest is not None:
            link(view.t("shell.newest"), newest, "button")
        if older is not None:
            link(view.t("shell.older"), older, "button", rel="next")
