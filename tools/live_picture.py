"""Takes a picture of the live view in the middle of ``harness demo``.

``python -m tools.live_picture [FILE]``, docs/live.svg by default.
"""

import io
import itertools
import re
import sys
import tempfile
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.live.pty_run import on_a_terminal

COLUMNS, ROWS = 80, 20
AT = "7.5 s of 10 s"
DEFAULT = Path(__file__).parents[1] / "docs" / "live.svg"
COLOURS = {"brown": "yellow"}
"""What pyte calls otherwise than rich."""


def main() -> None:
    """Run the demonstration on a terminal, and keep what it shows at AT."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    with (
        tempfile.TemporaryDirectory() as folder,
        on_a_terminal("demo", columns=COLUMNS, rows=ROWS, cwd=Path(folder)) as run,
    ):
        run.until(lambda lines: any(_seconds(line) >= _seconds(AT) for line in lines), 60)
        picture = svg(run.screen, "harness demo")
        print("\n".join(run.lines))
        run.end(60)
    target.write_text(picture)
    print(f"written to {target}")


def svg(screen: pyte.Screen, title: str) -> str:
    """The screen as a file that asks for nothing from elsewhere."""
    console = Console(
        file=io.StringIO(), record=True, force_terminal=True, width=screen.columns, height=ROWS
    )
    last = max((row for row, line in enumerate(screen.display) if line.strip()), default=0)
    for row in range(last + 1):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        line = Text()
        for style, alike in itertools.groupby(cells, _style):
            line.append("".join(cell.data for cell in alike), style)
        console.print(line, no_wrap=True)
    fonts = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
    return console.export_svg(title=title, code_format=fonts.sub("", CONSOLE_SVG_FORMAT))


def _style(cell: pyte.screens.Char) -> Style:
    colour = None if cell.fg == "default" else COLOURS.get(cell.fg, cell.fg)
    return Style(color=colour, bold=cell.bold)


def _seconds(line: str) -> float:
    """The time of a run that a line of the view tells; -1 for any other."""
    found = re.search(r"([0-9.]+) s of 10 s", line)
    return float(found[1]) if found else -1.0


if __name__ == "__main__":
    main()
