"""Progress without a terminal: whole lines within 80 columns, one a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.live.plain import Plain, progress_text
from tests.live.made_up import RUN, S, changed


def test_text() -> None:
    assert progress_text(RUN) == (
        "run 12/60 s  B  ok 1987/s  p50 8.41 p99 46.1 ms  violated 0.12 %  in flight 353"
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"p50_ns": None, "p99_ns": None}, "  no answers  "),
        ({"decided": 0, "violations": 0}, "violated 0.00 %"),
        ({"decided": 3, "violations": 3}, "violated 100.00 %"),
        ({"t_ns": 61 * S}, "run 60/60 s"),
        ({"t_ns": 0, "duration_ns": S // 2}, "run 0/0.5 s"),
        ({"phase": "warm-up"}, "warm-up 12/60 s"),
        ({"in_use": ()}, "run 12/60 s  ok"),
        ({"in_use": tuple(range(9))}, "run 12/60 s  ABCD  ok"),
        ({"p50_ns": 1_500}, "p50 0.0015 p99"),
        ({"ok_rate": None}, "ok 23900 "),
        ({"servers": RUN.servers[:1], "in_use": (), "in_flight": 9}, "in flight 9/1100"),
        ({"dropped": 7}, "violated 0.12 %  dropped 7"),
    ],
)
def test_what_is_said(fields: dict[str, object], said: str) -> None:
    assert said in progress_text(changed(**fields))


@given(
    st.integers(0, 10**12),
    st.integers(1, 10**12),
    st.integers(0, 10**9),
    st.floats(0, 1e9),
    st.one_of(st.none(), st.integers(0, 10**11)),
    st.integers(0, 10**9),
)
def test_any_report_is_one_printable_line(
    t_ns: int, duration_ns: int, decided: int, rate: float, latency_ns: int | None, dropped: int
) -> None:
    text = progress_text(
        changed(
            t_ns=t_ns,
            duration_ns=duration_ns,
            decided=decided,
            violations=decided // 3,
            ok_rate=rate,
            p50_ns=latency_ns,
            p99_ns=latency_ns,
            dropped=dropped,
        )
    )
    assert text.isprintable()
    assert len(text) <= 80
    assert text.startswith("run ")


def test_a_line_for_each_second() -> None:
    plain = Plain()
    quarters = [changed(t_ns=n * S // 4) for n in range(1, 10)]
    lines = "".join(plain.draw(one, []) for one in quarters).splitlines()
    assert lines == [progress_text(changed(t_ns=n * S)) for n in (1, 2)]
    assert plain.draw(changed(t_ns=2 * S, phase="warm-up"), []).startswith("warm-up 2/60 s")
    assert plain.end() == ""


def test_notes_are_cleaned_lines_of_their_own() -> None:
    assert Plain().draw(None, ["a\x1b[2Jb\nc", "d\u202ee"]) == "a[2Jb c\nde\n"
