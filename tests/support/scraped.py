"""A page of metrics as Prometheus understands it."""

from __future__ import annotations

import re

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Page:
    """The samples of a page by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: dict[str, str] = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.kinds, f"{name} is there twice"
                self.kinds[name] = kind
            elif not line.startswith("#"):
                found = LINE.fullmatch(line)
                assert found, line
                key = (found[1], frozenset(LABEL.findall(found[2] or "")))
                assert key not in self._samples, f"{key} is there twice"
                self._samples[key] = float(found[3])

    @property
    def names(self) -> set[str]:
        """The names of all samples: those of a histogram end in _bucket, _sum and _count."""
        return {name for name, _ in self._samples}

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples that have these labels; None if there is none."""
        found = [n for (sample, own), n in self._samples.items() if sample == name and own >= set(labels.items())]
        return sum(found) if found else None
