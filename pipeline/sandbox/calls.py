"""Calls to the sandbox and their answers, as the parent process sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.errors import BusyError, Code, PermanentError, PipelineError
from pipeline.sandbox.refusals import parse_refusal

Answer = dict[str, Any] | PipelineError
"""What a child answered, or the error of a call that it did not answer."""


class Call(NamedTuple):
    """One call: "module:function" and its arguments, which are JSON values.

    `file` is the path of a file: the parent opens it, and the function gets the descriptor as its argument `file`.
    `content_id` distinguishes calls with equal arguments for different content, such as files that reuse a path.
    """

    function: str
    arguments: dict[str, Any]
    content_id: str = ""
    file: str | None = None


class StillRunning(BusyError):  # noqa: N818 -- not a failure: the caller asks again
    """Returned by `Sandbox.call_many` for a call that takes long, and for those behind it that were not begun."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "is still being decoded, or waits for another file that is")


def unpack_answer(answer: Answer) -> Any:
    """The result of a call, or its error. The caller validates the result: a child may run foreign code."""
    if isinstance(answer, PipelineError):
        return answer
    if "refusal" not in answer:
        return answer.get("result")
    return parse_refusal(answer["refusal"]) or InvalidAnswerError()


class InvalidAnswerError(PermanentError):
    """The error of a call whose child sent something that no decoder says. The child may run foreign code."""

    def __init__(self) -> None:
        super().__init__(Code.DECODER_CRASH, "the decoder process sent an invalid reply")
