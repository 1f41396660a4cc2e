import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.progress import Progress, ProgressLine, progress_text

S = 1_000_000_000

RUN = Progress(
    phase="run",
    t_ns=12 * S,
    duration_ns=60 * S,
    ok=23_900,
    decided=20_000,
    violations=25,
    in_flight=17,
    p50_ns=8_410_000,
    p99_ns=46_123_000,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def changed(**fields):
    return Progress(**{**RUN.__dict__, **fields})


def test_text():
    assert progress_text(RUN) == (
        "run 12/60 s  ok 23900  p50 8.41 p99 46.1 ms  violated 0.12 %  in flight 17"
    )
    assert len(progress_text(changed(ok=10**7, duration_ns=3600 * 10**9))) <= 80


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"p50_ns": None, "p99_ns": None}, "  no answers  "),
        ({"decided": 0, "violations": 0}, "violated 0.00 %"),
        ({"decided": 3, "violations": 3}, "violated 100.00 %"),
        ({"t_ns": 61 * S}, "run 60/60 s"),
        ({"t_ns": 0, "duration_ns": S // 2}, "run 0/0.5 s"),
        ({"phase": "warm-up"}, "warm-up 12/60 s"),
        ({"in_use": (1,)}, "run 12/60 s  B  ok"),
        ({"in_use": tuple(range(9))}, "run 12/60 s  ABCD  ok"),
        ({"p50_ns": 1_500}, "p50 0.0015 p99"),
    ],
)
def test_what_is_said(fields, said):
    assert said in progress_text(changed(**fields))


def test_a_file_gets_a_line_a_report():
    stream = io.StringIO()
    line = ProgressLine(stream)
    line(RUN)
    line(changed(t_ns=13 * S))
    line.close()
    lines = stream.getvalue().splitlines()
    assert lines == [progress_text(RUN), progress_text(changed(t_ns=13 * S))]


def test_a_terminal_shows_the_last_report_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    line = ProgressLine(stream)
    line(changed(ok=10**9))
    line(changed(ok=1))
    line.close()
    line.close()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    shown = text.rstrip("\n").split("\r")[1:]
    assert {len(one) for one in shown} == {79}
    assert shown[-1].rstrip() == progress_text(changed(ok=1))[:79]


def test_a_narrow_terminal_is_not_overrun(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    ProgressLine(stream)(RUN)
    assert stream.getvalue() == "\r" + progress_text(RUN)[:39]


def test_closing_without_a_report_writes_nothing():
    stream = Terminal()
    ProgressLine(stream).close()
    assert stream.getvalue() == ""


@given(
    st.integers(0, 10**12),
    st.integers(1, 10**12),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.one_of(st.none(), st.integers(0, 10**11)),
)
def test_any_report_is_one_printable_line(t_ns, duration_ns, decided, ok, latency_ns):
    text = progress_text(
        changed(
            t_ns=t_ns,
            duration_ns=duration_ns,
            decided=decided,
            violations=decided // 3,
            ok=ok,
            p50_ns=latency_ns,
            p99_ns=latency_ns,
        )
    )
    assert text.isprintable()
    share = float(re.search(r"violated ([0-9.]+) %", text)[1])
    assert 0 <= share <= 100
