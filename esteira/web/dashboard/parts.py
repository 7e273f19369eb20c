"""Building blocks of the pages: native elements, which keyboards and screen readers understand."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


def box(tag: str, classes: str = "", /, **attributes: str | int) -> Element:
    """An element; `aria_label="…"` becomes the attribute `aria-label`. Values may be any text."""
    return attributed(ui.element(tag).classes(classes), attributes)


def text(tag: str, content: str, classes: str = "", /, **attributes: str | int) -> TextElement:
    """An element with a text, shown without interpreting markup; assign `.text` to change it."""
    element = TextElement(tag=tag, text=content).classes(classes)
    attributed(element, attributes)
    return element


def heading(content: str, lead: str = "") -> None:
    """A page's title and one line that describes the page."""
    with box("div", "page-head"):
        text("h1", content)
        if lead:
            text("p", lead, "lead")


def card(title: str, classes: str = "") -> Element:
    """A section with its own heading; use it as a context manager to add content."""
    section = box("section", f"card {classes}")
    with section:
        title_element = text("h2", title)
    section.props["aria-labelledby"] = title_element.html_id
    return section


def link(content: str, path: str, classes: str = "", /, **attributes: str | int) -> TextElement:
    """A link to another page of the dashboard."""
    return text("a", content, classes, href=path, **attributes)


def picture(path: str) -> Element:
    """A 24 px line drawing hidden from screen readers; `path` is SVG path data."""
    drawing = box("svg", "picture", viewBox="0 0 24 24", width=20, height=20, aria_hidden="true")
    with drawing:
        box("path", d=path)
    return drawing


def copyable(command: str, copy: str, copied: str) -> None:
    """A command with a button that copies it; `copy` and `copied` are the words of the button."""
    with box("div", "copyable"):
        with box("pre"):
            text("code", command)
        text("button", copy, "button small", type="button", data_copy=command, data_copied=copied)


def figure(label: str, classes: str = "", *, path: str | None = None) -> TextElement:
    """Adds a labelled figure to a description list, a link if it has a path; returns the element to update."""
    with box("div", classes):
        term = text("dt", label)
        with box("dd"):
            if path is None:
                return text("span", "–", "figure")
            shown = link("–", path, "figure")
    shown.props["aria-labelledby"] = f"{term.html_id} {shown.html_id}"
    return shown


def show_figure(element: TextElement, value: str) -> None:
    """Updates a figure; zero is shown less prominently."""
    if element.text != value:
        element.text = value
        element.classes("changed") if value not in {"0", "–"} else element.classes(remove="changed")


def attributed(element: Element, attributes: Mapping[str, str | int]) -> Element:
    """Sets attributes of an element; `aria_label` becomes `aria-label`, `for_` becomes `for`."""
    for name, value in attributes.items():
        element.props[name.rstrip("_").replace("_", "-")] = value
    return element
