"""Errors of actions in the language of the page."""

from __future__ import annotations

from esteira.web.dashboard.texts import TEXTS
from esteira.web.dashboard.view import View
from pipeline.errors import Code, PipelineError
from pipeline.remedies.messages import translated


def fault(view: View, error: Exception) -> str:
    """The text of an error in the page's language if there is one, else its own message, translated if possible."""
    code = error.code if isinstance(error, PipelineError) else Code.QUEUE
    key = f"fault.{code}"
    if key in TEXTS[view.language]:
        return view.t(key)
    return translated(str(getattr(error, "message", code)), view.language)
