"""A new source for the bytes of an attachment, for a replay after the first source expired or was wrong."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from pipeline.errors import PayloadError
from pipeline.models.attachment import Attachment
from pipeline.models.base import MAX_URL, Count, Empty, Key, Model, Sha256, Url
from pipeline.values.base64_stream import check_base64
from pipeline.values.gateway_values import decode_bytes

KEY_BYTES = 32
# urlsplit gets no longer authority: it normalises it, in time quadratic to a run of combining marks.
_AUTHORITY = re.compile(r"\s*[a-z]{4,5}://[^/?#]{1,300}(?:[/?#]|$)", re.IGNORECASE)


def _web_url(value: str | None) -> str | None:
    message = f"must be an http:// or https:// URL of at most {MAX_URL} characters"
    if value is None:
        return value
    try:
        parts = urlsplit(value if _AUTHORITY.match(value) else "")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise ValueError(message)
    return value


def _path(value: str | None) -> str | None:
    if value is not None and (not value.startswith("/") or value.startswith("//")):
        raise ValueError("must be a path that begins with one /")
    return value


def _key(value: str | None) -> str | None:
    if value is not None and len(decode_bytes(value) or b"") != KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES} bytes in base64 or hex, as an array or an object of bytes")
    return value


class NewSource(Model):
    """A new source. Its fields have the types of the attachment's own.

    Fields that are not set keep the value of the message. `media_key`, the hashes and `size` may be None: then the
    bytes are not decrypted, or not compared.
    """

    url: Annotated[Url, AfterValidator(_web_url)] = None
    direct_path: Annotated[Url, AfterValidator(_path)] = None
    data: Annotated[str | None, Empty, Field(repr=False)] = None
    media_key: Annotated[Key, AfterValidator(_key)] = None
    file_sha256: Sha256 = None
    file_enc_sha256: Sha256 = None
    size: Count = None

    @property
    def has_location(self) -> bool:
        """Whether it has another location of the bytes. Otherwise it only corrects their key, hashes or size."""
        return bool(self.url or self.direct_path or self.data)


def parse_new_source(fields: Any) -> NewSource | None:
    """Parses a new source from JSON. None if it is empty: then the old source is used again.

    Raises:
        PayloadError: names the invalid field, or the valid fields if it has none of them.
    """
    if fields is None or fields == {}:
        return None
    if not isinstance(fields, dict):
        raise PayloadError("", "a new source is a JSON object")
    if not NewSource.model_fields.keys() & fields.keys():
        raise PayloadError("", f"a new source has one of {', '.join(NewSource.model_fields)}")
    try:
        source = NewSource.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise PayloadError(str(first["loc"][0]), first["msg"].removeprefix("Value error, ")) from None
    check_base64(source.data or "")
    return source


def with_new_source(attachment: Attachment, source: NewSource, *, intake: bool = False) -> Attachment:
    """The attachment with the new source. With `intake` its bytes are in storage already."""
    values = source.model_dump(exclude_unset=True, exclude={"url", "direct_path", "data"})
    values["fault"] = None  # the new source replaces what was wrong with the message
    if source.has_location or intake:
        # All together: an old direct path would take precedence over a new URL, and an old expiry would be wrong.
        values |= {"url": source.url, "direct_path": source.direct_path, "expires_at": None, "remote_id": None}
    if values.get("media_key", attachment.media_key) != attachment.media_key:
        values.setdefault("file_enc_sha256", None)  # another key makes another ciphertext of the same file
    return attachment.model_copy(update=values)
