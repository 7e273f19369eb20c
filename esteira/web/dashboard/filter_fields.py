"""Fields of the forms that filter a page, each with its label."""

from __future__ import annotations

from collections.abc import Mapping

from esteira.web.dashboard.parts import box, text


def choice_field(name: str, label: str, choices: Mapping[str, str], *, chosen: str) -> None:
    """A list of choices, by the value that the address has. A chosen value that is not among them is added."""
    known = choices if chosen in choices else {**choices, chosen: chosen}
    with box("div", "field"):
        text("label", label, for_=f"filter-{name}")
        with box("select", id=f"filter-{name}", name=name):
            for value, shown in known.items():
                option = text("option", shown, value=value)
                if value == chosen:
                    option.props["^selected"] = "selected"


def text_field(name: str, label: str, value: str, **attributes: str | int) -> None:
    """A field for a text."""
    with box("div", "field"):
        text("label", label, for_=f"filter-{name}")
        # As an attribute: a property would be set again on every change of the page.
        box("input", id=f"filter-{name}", name=name, autocomplete="off", **attributes).props["^value"] = value
