"""The display's thread: the latest progress wins, and no caller waits for the reader."""

import io
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.live.display import Display, make_display
from harness.live.plain import Plain
from harness.live.terminal import Terminal
from harness.progress import Progress
from tests.live.made_up import RUN, S, changed

Wait = Callable[..., None]


class Numbers:
    """A renderer that says the second it was given, and at the end so."""

    def draw(self, progress: Progress | None, notes: list[str]) -> str:
        text = "".join(f"{note} " for note in notes)
        return text if progress is None else f"{text}{progress.t_ns} "

    def end(self) -> str:
        return "end"


class Pipe:
    """A pipe; ``fill`` makes a write to it block."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def fill(self) -> int:
        os.set_blocking(self.writer, False)
        filled = 0
        try:
            while True:
                filled += os.write(self.writer, b"." * 1000)
        except BlockingIOError:
            os.set_blocking(self.writer, True)
        return filled

    def read(self) -> str:
        os.set_blocking(self.reader, False)
        found = b""
        try:
            while data := os.read(self.reader, 1 << 16):
                found += data
        except BlockingIOError:
            pass
        return found.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe()
    yield one
    os.close(one.reader)
    os.close(one.writer)


def test_the_latest_progress_and_every_note(pipe: Pipe) -> None:
    with Display(pipe.writer, Numbers()) as display:
        display.note("early")
        for second in range(100):
            display(changed(t_ns=second))
            display.note(f"note{second}")
    words = pipe.read().split()
    assert words[0] == "early"
    assert [word for word in words if word.startswith("note")] == [f"note{n}" for n in range(100)]
    assert words[-1] == "end"
    assert words[-2] == "99"


def test_a_note_before_the_run_is_there_at_once(pipe: Pipe) -> None:
    display = Display(pipe.writer, Plain())
    display.note("starting")
    assert pipe.read() == "starting\n"
    display.close()


def test_it_draws_four_times_a_second_at_most(pipe: Pipe, wait_until: Wait) -> None:
    drawn: list[float] = []

    class Counting(Numbers):
        def draw(self, progress: Progress | None, notes: list[str]) -> str:
            drawn.append(time.monotonic())
            return ""

    with Display(pipe.writer, Counting()) as display:

        def four() -> bool:
            display(RUN)
            return len(drawn) > 3

        wait_until(four)
        gaps = [after - before for before, after in itertools.pairwise(drawn)]
    assert min(gaps) > 0.24


def test_a_reader_that_stops_holds_up_nobody(pipe: Pipe) -> None:
    pipe.fill()
    display = Display(pipe.writer, Numbers())
    display(changed(t_ns=0))
    slowest_s = 0.0
    for second in range(5000):
        before_s = time.monotonic()
        display(changed(t_ns=second))
        display.note("note")
        slowest_s = max(slowest_s, time.monotonic() - before_s)
    assert slowest_s < 0.2
    before_s = time.monotonic()
    display.close()
    assert time.monotonic() - before_s < 3.5
    assert pipe.read().startswith(".")


def test_a_reader_that_goes_on_gets_the_latest(pipe: Pipe, wait_until: Wait) -> None:
    pipe.fill()
    with Display(pipe.writer, Numbers()) as display:
        display(changed(t_ns=1))
        wait_until(lambda: display._latest is not None)
        display(changed(t_ns=2))
        display.note("note")
        text = ""

        def heard() -> bool:
            nonlocal text
            text += pipe.read()
            return "note 2" in text

        wait_until(heard)


def test_a_pipe_that_takes_little_at_a_time(pipe: Pipe) -> None:
    pipe.fill()
    os.set_blocking(pipe.writer, False)
    display = Display(pipe.writer, Numbers())
    display(changed(t_ns=7))
    found = ""
    closing = threading.Thread(target=display.close)
    closing.start()
    while closing.is_alive():
        found += pipe.read()
        closing.join(0.01)
    assert (found + pipe.read()).lstrip(".") == "7 end"


def test_a_reader_that_went_away_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.reader)
    try:
        with Display(pipe.writer, Numbers()) as display:
            display.note("note")
            display(RUN)
            display.note("another")
    finally:
        pipe.reader = os.open(os.devnull, os.O_RDONLY)


def test_the_thread_runs_where_its_caller_does(pipe: Pipe) -> None:
    found: list[set[int]] = []

    class Where(Numbers):
        def draw(self, progress: Progress | None, notes: list[str]) -> str:
            found.append(os.sched_getaffinity(0))
            return ""

    before = os.sched_getaffinity(0)
    display = Display(pipe.writer, Where())
    try:
        os.sched_setaffinity(0, {min(before)})
        display(RUN)
    finally:
        os.sched_setaffinity(0, before)
    display.close()
    assert found[-1] == {min(before)}


def test_display_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream, make_display(stream) as display:
        display.note("note")
        display(changed(t_ns=3 * S))
    lines = path.read_text().splitlines()
    assert lines[0] == "note"
    assert lines[1].startswith("run 3/60 s")
    for stream in (None, io.StringIO()):
        with make_display(stream) as display:
            display(RUN)
            display.note("note")
    with path.open("w") as stream, make_display(stream, quiet=True) as display:
        display.note("note")
        display(changed(t_ns=3 * S))
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("term", "kind"), [("xterm", Terminal), ("dumb", Plain), ("", Plain), (None, Plain)]
)
def test_a_terminal_has_to_be_able_to(
    term: str | None, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as stream:
            assert type(make_display(stream)._renderer) is kind
    finally:
        os.close(master)
