"""Bars of the live view."""

from dataclasses import dataclass

from rich.text import Text

SCALE = 2.0
"""A bar with a limit ends at so many times the limit."""


@dataclass(frozen=True)
class Marks:
    """What bars are drawn with, each one cell wide."""

    full: str
    empty: str
    limit: str


LINES = Marks("━", "─", "┃")
ASCII = Marks("#", "-", "|")


def marks_for(encoding: str) -> Marks:
    """Lines where the terminal's encoding has them."""
    try:
        "".join(vars(LINES).values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return LINES


def bar(share: float, cells: int, marks: Marks) -> Text:
    """``share`` of the cells full; full at 1."""
    full = _cells(share, cells)
    return Text.assemble((marks.full * full, "cyan"), (marks.empty * (cells - full), "dim"))


def limit_bar(share: float, limit: float, cells: int, marks: Marks) -> Text:
    """From 0 to SCALE times ``limit``, which has a mark; what is beyond the mark is red.

    Anything above 0 fills a cell, and nothing within the limit passes the mark.
    """
    at = round(cells / SCALE)
    full = _cells(share / (SCALE * limit), cells)
    if share <= limit:
        full = min(full, at)
        inside = (marks.full * full, "green")
        empty = (marks.empty * (at - full), "dim")
        return Text.assemble(inside, empty, marks.limit, (marks.empty * (cells - at - 1), "dim"))
    beyond = max(1, full - at - 1)
    return Text.assemble(
        (marks.full * at, "red"),
        marks.limit,
        (marks.full * beyond, "red"),
        (marks.empty * (cells - at - 1 - beyond), "dim"),
    )


def _cells(share: float, cells: int) -> int:
    """Whole cells: the nearest, but none only for 0 and all only for 1 or more."""
    if share <= 0:
        return 0
    if share >= 1:
        return cells
    return min(max(1, round(share * cells)), cells - 1)
