"""The live view on a terminal: a block of lines that is drawn over, below the lines that stay.

No mode of the terminal is changed, so that none is left behind however the process ends.
"""

import io
import os
from collections import deque

from rich.console import Console
from rich.text import Text

from harness.live.bars import marks_for
from harness.live.view import view_lines
from harness.progress import Progress
from harness.untrusted import clean_text

UP = "\x1b[{}A"
ERASE_LINE_END = "\x1b[K"
ERASE_BELOW = "\x1b[J"
CLEAR_SCREEN = "\x1b[H\x1b[2J"
MAX_NOTE_CHARS = 400
NOTES_KEPT = 100
DEFAULT_SIZE = os.terminal_size((80, 24))


class Terminal:
    """Renders for the terminal behind ``fd``, whose size is asked before each frame."""

    def __init__(self, fd: int, encoding: str) -> None:
        self._fd = fd
        self._marks = marks_for(encoding)
        # rich chooses colours by TERM and COLORTERM, and none under NO_COLOR.
        self._console = Console(
            file=io.StringIO(), force_terminal=True, markup=False, emoji=False, highlight=False
        )
        self._block: list[Text] = []
        self._notes: deque[Text] = deque(maxlen=NOTES_KEPT)

    def draw(self, progress: Progress | None, notes: list[str]) -> str:
        """One frame: ``notes`` above, the progress below."""
        size = self._size()
        columns, rows = max(1, size.columns - 1), size.lines - 1
        block = [] if progress is None else view_lines(progress, columns, rows, self._marks)
        new = [Text(clean_text(note, MAX_NOTE_CHARS), "bold") for note in notes]
        self._notes.extend(new)
        if self._lost(size):
            # How the terminal broke the old lines anew is unknown: start over.
            start, above = CLEAR_SCREEN, self._latest_notes(size.columns, rows - len(block))
        else:
            start, above = self._to_top(), new
        self._block = block
        return start + self._print([*above, *block]) + ERASE_BELOW

    def end(self) -> str:
        """Erase the block; the notes stay."""
        start, self._block = self._to_top(), []
        return start + ERASE_BELOW

    def _size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self._fd)
        except OSError:
            return DEFAULT_SIZE
        return size if size.columns and size.lines else DEFAULT_SIZE

    def _lost(self, size: os.terminal_size) -> bool:
        """Whether the block no longer lies as it was drawn."""
        widest = max((line.cell_len for line in self._block), default=0)
        return bool(self._block) and (widest >= size.columns or len(self._block) >= size.lines)

    def _to_top(self) -> str:
        return "\r" + (UP.format(len(self._block)) if self._block else "")

    def _latest_notes(self, columns: int, room: int) -> list[Text]:
        """As many of the last ones as there is room for."""
        found: list[Text] = []
        for note in reversed(self._notes):
            room -= max(1, -(-note.cell_len // columns))
            if room < 0:
                break
            found.insert(0, note)
        return found

    def _print(self, lines: list[Text]) -> str:
        with self._console.capture() as caught:
            for line in lines:
                self._console.print(line, soft_wrap=True, end=ERASE_LINE_END + "\n")
        return caught.get()
