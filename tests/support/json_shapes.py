"""Hypothesis strategies: JSON of any shape, and real payloads with some values replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_WORDS = st.sampled_from(["id", "url", "type", "message", "messages", "entry", "changes", "value", "payload", "media"])
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS

ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def mutations(samples: list[Any]) -> st.SearchStrategy[Any]:
    """One of the samples, with up to three values replaced by other JSON."""

    @st.composite
    def mutated(draw: st.DrawFn) -> Any:
        sample = copy.deepcopy(draw(st.sampled_from(samples)))
        for _ in range(draw(st.integers(1, 3))):
            holder, key = draw(st.sampled_from(list(_places(sample))))
            holder[key] = draw(ANY_JSON)
        return sample

    return mutated()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield value, key
        yield from _places(part)
