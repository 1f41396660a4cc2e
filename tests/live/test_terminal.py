"""Frames on a terminal, as pyte understands them: the block is drawn over, the notes stay."""

import os

import pyte
import pytest

from harness.live.terminal import Terminal
from tests.live.made_up import RUN, S, changed


class Shown:
    """A terminal and what it shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int = 80, rows: int = 24) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.screen)
        self.size = os.terminal_size((columns, rows))
        monkeypatch.setattr(os, "get_terminal_size", lambda fd: self.size)
        self.terminal = Terminal(2, "utf-8")

    def resize(self, columns: int, rows: int) -> None:
        self.size = os.terminal_size((columns, rows))
        self.screen.resize(rows, columns)

    def draw(self, progress: object = RUN, *notes: str) -> list[str]:
        self.stream.feed(self.terminal.draw(progress, list(notes)))
        return self.lines

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


def test_the_block_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    first = shown.draw()
    assert first[0].startswith("run       ━━")
    assert len(first) == 7
    again = shown.draw(changed(t_ns=13 * S, servers=RUN.servers[:1]))
    assert len(again) == 6
    assert "13 s of 60 s" in again[0]


def test_notes_stay_above_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    shown.draw(None, "first")
    shown.draw(RUN, "second " + "x" * 90)
    lines = shown.draw(changed(t_ns=13 * S), "third")
    assert lines[0] == "first"
    assert lines[1].startswith("second xxx")
    assert set(lines[2]) == {"x"}
    assert lines[3] == "third"
    assert "13 s of 60 s" in lines[4]
    assert len(lines) == 4 + 7


def test_notes_scroll_off_and_the_block_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    for number in range(40):
        lines = shown.draw(changed(t_ns=number * S), f"note {number}")
    assert lines[-8] == "note 39"
    assert "39 s of 60 s" in lines[-7]
    assert sum("of 60 s" in line for line in lines) == 1
    scrolled = [
        "".join(row[n].data for n in range(80)).rstrip() for row in shown.screen.history.top
    ]
    assert scrolled == [f"note {number}" for number in range(len(scrolled))]


def test_the_end_leaves_the_notes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    shown.draw(RUN, "note")
    shown.stream.feed(shown.terminal.end())
    assert shown.lines == ["note"]
    assert (shown.screen.cursor.y, shown.screen.cursor.x) == (1, 0)
    assert not shown.screen.cursor.hidden
    assert shown.screen.cursor.attrs == pyte.screens.Char(" ")


@pytest.mark.parametrize(
    ("columns", "rows", "room"),
    [(40, 24, 1), (60, 24, 1), (120, 40, 1), (80, 6, 0), (20, 10, 0)],
)
def test_resize(monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, room: int) -> None:
    shown = Shown(monkeypatch)
    shown.draw(RUN, "note")
    shown.resize(columns, rows)
    lines = shown.draw(changed(t_ns=13 * S))
    assert len([line for line in lines if line.startswith("run ")]) == 1
    assert lines.count("note") == room
    assert any("13 s of 60 s" in line for line in lines)


def test_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Shown(monkeypatch)
    shown.draw(RUN, "note")
    cells = [cell for row in shown.screen.buffer.values() for cell in row.values()]
    assert {(cell.fg, cell.bg) for cell in cells} == {("default", "default")}


def test_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Shown(monkeypatch)
    shown.draw(RUN)
    cells = [cell for row in shown.screen.buffer.values() for cell in row.values()]
    assert {cell.fg for cell in cells} > {"cyan", "green", "default"}


def test_escapes_in_names_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch)
    text = shown.terminal.draw(changed(model="a\x1b[2J\x9b5A\x07b"), ["c\x1b]0;title\x07d\x1b[5A"])
    assert "a[2J5Ab" in text
    assert "c]0;titled[5A" in text
    shown.stream.feed(text)
    assert len(shown.lines) == 8
