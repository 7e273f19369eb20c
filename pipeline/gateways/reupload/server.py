"""A gateway's own server as the settings name it, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.values.gateway_values import error_text, json_object


@dataclass(frozen=True)
class GatewayServer:
    """A gateway's server. `name` and `key_setting` are for error messages, `credentials` are headers with its key.

    `gone_words` are parts of refusals that are final whatever their status, `later_words` those of refusals that are
    not, in lower case. `hints` are parts of refusals with what is added to the message.
    """

    name: str
    url: str
    key_setting: str
    credentials: Mapping[str, str] = field(repr=False)
    gone_words: Sequence[str] = ()
    later_words: Sequence[str] = ()
    hints: Sequence[tuple[str, str]] = ()

    def refusal(self, error: PipelineError, *, status: int, answer: Any) -> PipelineError:
        """The error for a response with this status, of which `error` is the general meaning.

        PermanentError (`source_gone`): the server does not have the file. RetryableError: another attempt may succeed.
        """
        said = _said(answer)
        words = said.lower()
        hint = next((f" ({hint})" for part, hint in self.hints if part in words), "")
        message = f"{self.name} answers {status}" + (f": {said}" if said else "") + hint
        if status in {401, 403}:
            return RetryableError(Code.FETCH_UNAUTHORIZED, f"{message}; check {self.key_setting}")
        if 300 <= status < 400:
            return RetryableError(Code.FETCH_REDIRECT, f"{message}: a redirect is not followed, check the server's URL")
        if any(part in words for part in self.gone_words):
            return PermanentError(Code.SOURCE_GONE, message)
        if isinstance(error, RetryableError):
            return RetryableError(error.code, message, retry_after=error.retry_after)
        if any(part in words for part in self.later_words):
            return RetryableError(Code.FETCH_UNAVAILABLE, message)
        return PermanentError(Code.SOURCE_GONE, message)


class Probe(NamedTuple):
    """A harmless GET that needs the server's key."""

    server: GatewayServer
    path: str


def _said(answer: Any) -> str:
    """The text of a refusal: the gateways write it as `message`, in `response` or `exception`, or as `error`."""
    content = json_object(answer)
    places = (content, json_object(content.get("response")), json_object(content.get("exception")))
    values = [place.get("message") for place in places] + [content.get("error")]
    texts = (error_text(value[0] if isinstance(value, list) and value else value) for value in values)
    return next(filter(None, texts), "")
