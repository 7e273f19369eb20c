"""The base class of all models, and the field types that several of them share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.values.gateway_values import clean_text, none_if_empty, plain_text, sha256_text, whole_number

MAX_URL = 16_384  # characters

Identifier = Annotated[str, Field(min_length=1, max_length=512), BeforeValidator(plain_text)]
Text = Annotated[str | None, BeforeValidator(plain_text)]
Empty = BeforeValidator(none_if_empty)
Url = Annotated[Annotated[str, Field(max_length=MAX_URL)] | None, Empty, BeforeValidator(clean_text), Field(repr=False)]
Sha256 = Annotated[str | None, BeforeValidator(sha256_text)]
Count = Annotated[Annotated[int, Field(ge=0, le=2**53)] | None, BeforeValidator(whole_number)]


class Model(BaseModel):
    """A frozen model that ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
