"""The results of the steps, each of which is the input of the next step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.models.attachment import Fault
from pipeline.models.base import Model
from pipeline.values.kinds import Kind


class GoneSource(Model):
    """Input of a fetch that asks the gateway: the source no longer has the file. `message` is the source's answer."""

    message: str


class Fetched(Model):
    """Complete plaintext in the staging directory under the attachment's id. `sha256` is its hash in hex.

    `deduplicated`: the bytes were copied from storage instead of downloaded, which `esteira_deduplicated_total` counts.
    `esteira_deduplicated_bytes_total` is about something else: bytes that persist did not write. `note` is for the
    history.
    """

    size: int
    sha256: str
    deduplicated: bool = False
    note: str | None = None


# Numbers of a decoder, which may be compromised. The limits of settings are lower.
Measured = Annotated[int, Field(strict=True, ge=0, le=10**13)]
Flag = Literal["encrypted", "javascript", "macros", "objects"]


class Facts(Model):
    """Measurements by a decoder: pixels, milliseconds, pages. None where the type has no such property."""

    width: Measured | None = None
    height: Measured | None = None
    duration_ms: Measured | None = None
    pages: Measured | None = None
    animated: Annotated[bool, Field(strict=True)] | None = None
    flags: Annotated[tuple[Flag, ...], Field(max_length=4)] = ()  # active content that was accepted


class Checked(Model):
    """The result of a type check that ran together with detect: `facts`, or the `fault` for which it refuses.

    `limits` identifies the limits that it applied. The result is not valid under other limits.
    """

    limits: str
    facts: Facts | None = None
    fault: Fault | None = None


class Detected(Model):
    """The type of the content. `mismatch` describes a difference from the declared type, or is None.

    With `checked` validate needs no call to the sandbox.
    """

    fetched: Fetched
    kind: Kind
    mime: str
    ext: str
    mismatch: str | None = None
    checked: Checked | None = None


class Validated(Model):
    """Content that was decoded and is within all limits."""

    detected: Detected
    facts: Facts


class Stored(Model):
    """Content in storage under its own hash. `name` has the form `<unix seconds>_<sha256[:6]>.<ext>`."""

    validated: Validated
    storage_key: str
    name: str
