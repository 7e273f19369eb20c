"""Worker entry point with decoders that run foreign code: what an attacker does who has taken over a decoder.

Only the names of four checks are replaced; sandbox, verdicts and queue are unchanged.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.media_types import MEDIA_TYPES

ATTACKS = {
    "gif": "take_everything",
    "heic": "survive",
    "m4a": "lie_to_parent",
    "3gp": "threads",
}

for _name, _attack in ATTACKS.items():
    MEDIA_TYPES[_name] = replace(MEDIA_TYPES[_name], check=f"tests.support.sandbox_attacks:{_attack}")

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
