"""Worker entry point with crashing decoders, because no file is known that crashes a current decoder."""

from __future__ import annotations

from scripts.faults.replaced_checks import replace_checks

replace_checks(
    "tests.support.hostile_decoders",
    {"gif": "segfault", "heic": "abort", "m4a": "eat_memory", "3gp": "spin_in_c"},
)

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
