"""Esteira's workers with decoders that crash: a file that really breaks a decoder of today cannot be had.

Only the names of four checks are replaced; sandbox, verdicts and belt are the product's own.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.media_types import MEDIA_TYPES

CRASHES = {
    "gif": "segfault",
    "heic": "abort",
    "m4a": "eat_memory",
    "3gp": "spin_in_c",
}

for _name, _how in CRASHES.items():
    MEDIA_TYPES[_name] = replace(MEDIA_TYPES[_name], check=f"tests.support.hostile_decoders:{_how}")

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
