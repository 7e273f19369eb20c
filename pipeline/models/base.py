"""The base class of all models, and the field types that several of them share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.scrubber import cut
from pipeline.values.gateway_values import (
    clean_text,
    identifier_text,
    key_text,
    none_if_empty,
    plain_text,
    sha256_text,
    whole_number,
)

# Lengths in characters. A longer identifier, URL or key is invalid: a part of it would name something else. A longer
# text for people is cut.
MAX_IDENTIFIER = 512
MAX_URL = 16_384
MAX_KEY = 512  # a media key has 44 in base64
MAX_MIMETYPE = 255  # RFC 6838 allows 127 on each side of the slash
MAX_CAPTION = 65_536  # WhatsApp's limit for a text


def _cut_at(limit: int) -> AfterValidator:
    return AfterValidator(lambda text: cut(text, limit) if isinstance(text, str) else text)


Identifier = Annotated[str, Field(min_length=1, max_length=MAX_IDENTIFIER), BeforeValidator(identifier_text)]
Name = Annotated[Annotated[str, Field(max_length=MAX_IDENTIFIER)] | None, BeforeValidator(identifier_text)]
Text = Annotated[str | None, BeforeValidator(plain_text)]
Mimetype = Annotated[str | None, _cut_at(MAX_MIMETYPE), BeforeValidator(plain_text)]
Caption = Annotated[str | None, _cut_at(MAX_CAPTION), BeforeValidator(plain_text)]
Key = Annotated[Annotated[str, Field(max_length=MAX_KEY)] | None, BeforeValidator(key_text), Field(repr=False)]
Empty = BeforeValidator(none_if_empty)
Url = Annotated[Annotated[str, Field(max_length=MAX_URL)] | None, Empty, BeforeValidator(clean_text), Field(repr=False)]
Sha256 = Annotated[str | None, BeforeValidator(sha256_text)]
Count = Annotated[Annotated[int, Field(ge=0, le=2**53)] | None, BeforeValidator(whole_number)]


class Model(BaseModel):
    """A frozen model that ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
