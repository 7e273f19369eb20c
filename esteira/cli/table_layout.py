"""Tables that fit the terminal: columns are shortened or left out by their importance, and ids are never broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

GAP = "  "  # between two columns
# Columns up to this rank may cause others to be shortened; the others are shown if that leaves each COMFORTABLE cells.
ESSENTIAL = 4
COMFORTABLE = 24
LEAST = 8  # cells that a column without a `least` may be shortened to


class Column(NamedTuple):
    """A column of a table.

    `rank`: its importance, 0 is the greatest; the least important columns are left out first. `least`: the width in
    terminal cells that it may be shortened to; None for ids, codes and numbers, which are shown whole or not at all.
    `wraps`: a text that continues on further lines, for the last column of a table. `right`: aligned to the right.
    """

    name: str
    rank: int
    least: int | None = None
    wraps: bool = False
    right: bool = False


def plain_column(name: str, position: int) -> Column:
    """A column of which only the name is known: the further left, the more important."""
    return Column(name, rank=position, least=None if name == "id" else LEAST)


class Table:
    """The cells of a table, whose lines are made for a given width. The first column is always shown."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
        self._columns = columns
        self._rows = [[Text(column.name, style="bold") for column in columns], *rows]
        self._natural = [max(row[index].cell_len for row in self._rows) for index in range(len(columns))]
        self._empty = [not any(row[index].cell_len for row in rows) for index in range(len(columns))]

    def lines(self, screen: Console, width: int | None) -> Iterator[Text]:
        """The lines with the header, at most `width` cells wide unless an id alone is wider; None: without a limit."""
        widths = self._widths(width)
        for row in self._rows:
            yield from self._row_lines(row, widths, screen)

    def fits(self, width: int | None) -> bool:
        """Whether all columns are whole at this width."""
        return width is None or sum(self._natural) + len(GAP) * (len(self._natural) - 1) <= width

    def hidden(self, width: int | None) -> list[str]:
        """The names of the columns that have values and are not shown at this width."""
        shown = self._widths(width)
        return [
            column.name for index, column in enumerate(self._columns) if index not in shown and not self._empty[index]
        ]

    def _widths(self, width: int | None) -> dict[int, int]:
        """The width of each column that is shown, by its position."""
        if width is None:
            return dict(enumerate(self._natural))
        shown: list[int] = []
        for index in self._by_importance():
            essential = self._columns[index].rank <= ESSENTIAL and not self._empty[index]
            least = 0 if essential else COMFORTABLE
            needed = sum(self._least(column, width, least) for column in (*shown, index))
            if not shown or needed + len(GAP) * len(shown) <= width:
                shown.append(index)
        widths = {index: self._least(index, width) for index in sorted(shown)}
        self._widen(widths, width - sum(widths.values()) - len(GAP) * (len(widths) - 1))
        return widths

    def _by_importance(self) -> list[int]:
        others = sorted(range(1, len(self._columns)), key=lambda index: (self._empty[index], self._columns[index].rank))
        return [0, *others]

    def _least(self, index: int, width: int, at_least: int = 0) -> int:
        least = self._columns[index].least
        return self._natural[index] if least is None else min(self._natural[index], max(least, at_least), width)

    def _widen(self, shown: dict[int, int], spare: int) -> None:
        """Gives the spare width to the shortened columns, in equal parts, until all are whole."""
        while spare > 0 and (short := [index for index in shown if shown[index] < self._natural[index]]):
            share = max(1, spare // len(short))
            for index in short:
                added = min(share, self._natural[index] - shown[index], spare)
                shown[index] += added
                spare -= added

    def _row_lines(self, row: Sequence[Text], widths: dict[int, int], screen: Console) -> Iterator[Text]:
        *_, last = widths
        folded = list(row[last].wrap(screen, widths[last])) if self._columns[last].wraps and row[last] else []
        first = folded[0] if folded else row[last]
        cells = [(row[index] if index != last else first, index) for index in widths]
        line = Text(GAP).join(
            self._fitted(cell, widths[index], right=self._columns[index].right) for cell, index in cells
        )
        line.rstrip()
        yield line
        indent = sum(widths.values()) - widths[last] + len(GAP) * (len(widths) - 1)
        for continuation in folded[1:]:
            continuation.rstrip()
            yield Text(" " * indent) + continuation

    def _fitted(self, cell: Text, width: int, *, right: bool) -> Text:
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
        padding = width - fitted.cell_len
        fitted.pad_left(padding) if right else fitted.pad_right(padding)
        return fitted
