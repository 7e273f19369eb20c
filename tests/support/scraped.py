"""Parser of a metrics page in the Prometheus text format."""

from __future__ import annotations

import re

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Page:
    """The samples of a metrics page by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.kinds: dict[str, str] = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.kinds, f"{name} is duplicated"
                self.kinds[name] = kind
            elif not line.startswith("#"):
                match = LINE.fullmatch(line)
                assert match, line
                key = (match[1], frozenset(LABEL.findall(match[2] or "")))
                assert key not in self._samples, f"{key} is duplicated"
                self._samples[key] = float(match[3])

    @property
    def names(self) -> set[str]:
        """The names of all samples; those of histograms end in _bucket, _sum and _count."""
        return {name for name, _ in self._samples}

    def value(self, name: str, **labels: str) -> float | None:
        """Returns the sum of the samples with these labels; None if there are none."""
        values = [
            n
            for (sample, sample_labels), n in self._samples.items()
            if sample == name and sample_labels >= set(labels.items())
        ]
        return sum(values) if values else None
