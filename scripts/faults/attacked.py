"""Worker entry point with decoders that run foreign code: what an attacker does who has taken over a decoder."""

from __future__ import annotations

from scripts.faults.replaced_checks import replace_checks

replace_checks(
    "tests.support.sandbox_attacks",
    {"gif": "take_everything", "heic": "survive", "m4a": "lie_to_parent", "3gp": "threads"},
)

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
