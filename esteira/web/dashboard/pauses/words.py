"""Pauses in words, with the time since when."""

from __future__ import annotations

from esteira.web.dashboard.moments import IsolatedName, Moment, Piece, pieces_of
from esteira.web.dashboard.view import View
from pipeline.catalogue import Pause


def title_of(view: View, kind: str, name: str) -> str:
    """The name of a stage in the language of the page, or of a session."""
    return view.t(f"now.stage.{name}") if kind == "stage" else name


def paused_words(view: View, pause: Pause) -> tuple[Piece, ...]:
    """Such as: Session shop is paused since 2026-11-22 14:05:09 by ana: new phone."""
    name = title_of(view, pause.kind, pause.name)
    words = pieces_of(view, f"pauses.{pause.kind}.since", name=IsolatedName(name), since=Moment(pause.since))
    if pause.paused_by:
        words += (" ", *pieces_of(view, "pauses.by", name=IsolatedName(pause.paused_by)))
    return (*words, ": ", IsolatedName(pause.reason)) if pause.reason else (*words, ".")


def waiting_words(view: View, pause: Pause) -> tuple[Piece, ...]:
    """Why an attachment waits. Neither the user nor the reason is shown: not all viewers may see the pause itself."""
    name = title_of(view, pause.kind, pause.name)
    return pieces_of(view, f"pauses.{pause.kind}.waits", name=IsolatedName(name), since=Moment(pause.since))
