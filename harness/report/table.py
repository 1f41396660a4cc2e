"""Tables as data: heads and rows of cells, which a template sets."""

from dataclasses import dataclass

NONE = "\N{EN DASH}"
"""What a cell without a figure shows."""


@dataclass(frozen=True)
class ServerName:
    """A server in a cell: its letter in its color, and its name."""

    index: int
    letter: str
    name: str

    @property
    def color(self) -> str:
        """The class of its color."""
        return color_class(self.index)


@dataclass(frozen=True)
class Table:
    """The first column names the row. ``words``: further columns that are text, not figures."""

    heads: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    words: frozenset[int] = frozenset()
    note: str = ""


COLORS = 8
"""As many as page.css has; then they come again."""


def color_class(place: int) -> str:
    """Of the place in the palette."""
    return f"c{place % COLORS}"


def cut_rows(
    rows: list[tuple[object, ...]], most: int, what: str
) -> tuple[tuple[tuple[object, ...], ...], str]:
    """The first rows, and a note of how many there are where some were left out."""
    if len(rows) <= most:
        return tuple(rows), ""
    return tuple(rows[:most]), f"The first {most} of {len(rows)} {what}."
