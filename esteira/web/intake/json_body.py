"""JSON bodies as FastAPI dependencies: read within the limits first, then decoded strictly, then validated.

FastAPI itself would read a declared body completely, without a limit, before the request is authenticated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr, ValidationError
from starlette.concurrency import run_in_threadpool

from esteira.web.errors import payload_error
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.intake.strict_json import decode
from pipeline.values.gateway_values import clean_text

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 64 * 1024  # of a body, unless its route needs more
MAX_VALUES = 10_000  # of a body
MAX_BYTES_IN_LOOP = 16 * 1024  # a larger body is decoded in a thread: this one takes up to a millisecond
OWNER = "api"  # for the limits of memory

CleanText = Annotated[StrictStr, BeforeValidator(clean_text)]  # JSON may have lone surrogates, which pydantic refuses


class RequestModel(BaseModel):
    """A request body or query. Unknown fields are refused: ignoring a filter would select more than was meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class JsonBody(Generic[M]):
    """A dependency that returns the request's body as a model. Declare it after the authentication.

    An empty body is validated as `empty`; without that it is refused. `max_bytes`: None for MAX_BODY_MB. `openapi`
    describes the body, for `openapi_extra` of the route.
    """

    def __init__(
        self,
        model: type[M],
        *,
        parse: Callable[[Any], M | None] | None = None,
        empty: Any = ...,
        max_bytes: int | None = MAX_BYTES,
    ) -> None:
        self._parse = parse or model.model_validate
        self._empty = empty
        self._terms = Terms(OWNER, max_bytes=max_bytes)
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)  # enums of the response models, which FastAPI adds to the components
        content = {"application/json": {"schema": schema}}
        self.openapi: dict[str, Any] = {"requestBody": {"required": empty is ..., "content": content}}

    async def __call__(self, request: Request) -> AsyncIterator[M | None]:
        """Yields the model. The memory of the body counts as used until the response is sent.

        Raises:
            PayloadError: the body is not JSON, has too many values, or does not fit the model.
            PermanentError: `too_large`.
        """
        bodies: BodyReader = request.app.state.bodies
        async with bodies.read_body(request, self._terms) as body:
            if len(body) <= MAX_BYTES_IN_LOOP:
                yield self._value(body)
            else:
                yield await run_in_threadpool(self._value, body)

    def _value(self, body: bytes) -> M | None:
        decoded = decode(body, max_values=MAX_VALUES) if body.strip() or self._empty is ... else self._empty
        try:
            return self._parse(decoded)
        except ValidationError as error:
            raise payload_error(error.errors(include_input=False, include_url=False)) from None
