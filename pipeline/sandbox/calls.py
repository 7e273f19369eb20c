"""Calls to the sandbox and their answers, as the parent process sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.errors import BusyError, Code, PermanentError, PipelineError, RetryableError, StagingLostError

MAX_MESSAGE = 500  # characters of a child's error message that are kept
CODES = frozenset(Code)

Answer = dict[str, Any] | PipelineError
"""What a child answered, or the error of a call that it did not answer."""


class Call(NamedTuple):
    """One call: "module:function" and its arguments, which are JSON values.

    `content_id` distinguishes calls with equal arguments for different content, such as files that reuse a path.
    """

    function: str
    arguments: dict[str, Any]
    content_id: str = ""


class StillRunning(BusyError):  # noqa: N818 -- not a failure: the caller asks again
    """Returned by `Sandbox.call_many` for a call that takes long, and for those behind it that were not begun."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "is still being decoded, or waits for another file that is")


def unpack_answer(answer: Answer) -> Any:
    """The result of a call, or its error. A child may be compromised: its text is cut, unknown codes are refused."""
    if isinstance(answer, PipelineError):
        return answer
    if "error" not in answer:
        return answer.get("result")
    error = answer["error"] if isinstance(answer["error"], dict) else {}
    message = str(error.get("message"))[:MAX_MESSAGE]
    if error.get("permanence") == "lost":
        return StagingLostError(message)
    code = str(error.get("code"))
    if code not in CODES:
        return invalid_reply()
    error_class = RetryableError if error.get("permanence") == "retryable" else PermanentError
    return error_class(Code(code), message)


def invalid_reply() -> PermanentError:
    """The error of a call whose child sent something else than an answer."""
    return PermanentError(Code.DECODER_CRASH, "the decoder process sent an invalid reply")
