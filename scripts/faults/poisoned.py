"""Worker entry point with crashing decoders, because no file is known that crashes a current decoder.

Only the names of four checks are replaced; sandbox, verdicts and queue are unchanged.
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

for _name, _crash in CRASHES.items():
    MEDIA_TYPES[_name] = replace(MEDIA_TYPES[_name], check=f"tests.support.hostile_decoders:{_crash}")

from actors.stages import broker, detect, fetch, notify, persist, validate  # noqa: E402  after the change above

__all__ = ["broker", "detect", "fetch", "notify", "persist", "validate"]
