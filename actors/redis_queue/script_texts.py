"""The texts of the queue's Lua scripts, by name."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

PLAIN_SCRIPTS = ("find_missing", "mark_started", "heartbeat")
SCHEDULING_SCRIPTS = (  # these begin with scheduling.lua
    "enqueue",
    "fetch",
    "held_messages",
    "ack",
    "reap",
    "flush",
    "audit",
    "publish_pauses",
    "remove",
)


@lru_cache(maxsize=1)
def script_texts() -> dict[str, str]:
    """All scripts as Redis runs them."""
    scheduling = _script_text("scheduling")
    plain = {name: _script_text(name) for name in PLAIN_SCRIPTS}
    return plain | {name: scheduling + _script_text(name) for name in SCHEDULING_SCRIPTS}


def _script_text(name: str) -> str:
    return (resources.files("actors.redis_queue") / "lua" / f"{name}.lua").read_text()
