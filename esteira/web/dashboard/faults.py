"""Errors of actions in the language of the page."""

from __future__ import annotations

from esteira.web.dashboard.texts import TEXTS
from esteira.web.dashboard.view import View
from pipeline.errors import Code, PipelineError
from pipeline.remedies.messages import translated


def fault(view: View, error: Exception) -> str:
    """The text of an error in the page's language if there is one, else its own message, translated if possible."""
    code = error.code if isinstance(error, PipelineError) else Code.QUEUE
    return fault_of_code(view, code, str(getattr(error, "message", code)))


def fault_of_code(view: View, code: str, message: str) -> str:
    """The same for an error that the browser has received."""
    key = f"fault.{code}"
    return view.t(key) if key in TEXTS[view.language] else translated(message, view.language)
