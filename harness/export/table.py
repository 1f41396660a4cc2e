"""A table in parts, each small enough to lie in memory, whatever format it is written in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 1 << 14


@dataclass(frozen=True)
class Column:
    """``words``: what the whole numbers of this column stand for, in order; None: themselves."""

    name: str
    words: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Cells:
    """One column of one part: whole numbers or bools. ``there``: False where there is no value."""

    data: NDArray[Any]
    there: NDArray[np.bool_] | None = None

    def values(self, words: tuple[str, ...] | None, absent: str) -> list[Any]:
        """In Python's own types: ``words`` in place of numbers and bools, ``absent`` for none."""
        if words is not None:
            place = self.data.astype(np.intp)
            if self.there is not None:
                place = np.where(self.there, place, len(words))
            found: list[Any] = np.array([*words, absent], dtype=object)[place].tolist()
        elif self.there is None or self.there.all():
            found = self.data.tolist()
        else:
            found = np.where(self.there, self.data.astype(object), absent).tolist()
        return found


@dataclass(frozen=True)
class Table:
    """``parts``: makes the rows anew each time it is called; there is one part at least."""

    columns: tuple[Column, ...]
    parts: Callable[[], Iterator[tuple[Cells, ...]]]
