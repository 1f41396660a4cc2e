"""The live view: what it says, and that it fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.live.bars import ASCII, LINES
from harness.live.view import view_lines
from harness.progress import ACTIVE, EJECTED, MISSING, STANDBY, Progress, ServerState
from tests.live.made_up import RUN, S, changed

HOSTILE = "a\x1b[31m[bold red]b[/]\r\n\x07\u202e\u2066日本語\u200b<script>" + "x" * 300


def shown(progress: Progress, columns: int = 79, rows: int = 23) -> str:
    return "\n".join(line.plain for line in view_lines(progress, columns, rows, ASCII))


def test_view_at_80_columns() -> None:
    assert shown(RUN).splitlines() == [
        "run       ######------------------------   12 s of 60 s, 48 s left",
        "load      densenet_onnx   poisson   target 2000/s   sent 1998/s   ok 1987/s",
        "response  p50 8.41 ms   p99 46.12 ms   OK answers, last 3 s",
        "violated  #####----------|--------------   0.31 %, limit 1 %, last 25s",
        "so far    ok 23900   dropped 0   violated 0.12 %   lateness p99 0.061 ms",
        "server A  gpu1:8001   cooling down 28 s       in flight 350 of 1100",
        "server B  gpu2:8001   active                  in flight 3 of 1100",
    ]


def test_view_at_40_columns() -> None:
    assert shown(RUN, 39).splitlines() == [
        "run       ######-----------------------",
        "          12 s of 60 s, 48 s left",
        "load      densenet_onnx   poisson",
        "          target 2000/s   sent 1998/s",
        "          ok 1987/s",
        "response  p50 8.41 ms   p99 46.12 ms",
        "          OK answers, last 3 s",
        "violated  ####----------|--------------",
        "          0.31 %, limit 1 %, last 25s",
        "so far    ok 23900   dropped 0",
        "          violated 0.12 %",
        "          lateness p99 0.061 ms",
        "server A  gpu1:8001   cooling down 28 s",
        "          in flight 350 of 1100",
        "server B  gpu2:8001   active",
        "          in flight 3 of 1100",
    ]


def server(state: str, connected: bool = True, back_ns: int | None = None) -> tuple[ServerState]:
    return (ServerState("h:1", state, connected, 0, back_ns),)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"t_ns": 57 * S + S // 4}, "57 s of 60 s, 2.8 s left"),
        ({"t_ns": -S}, "0 s of 60 s, 60 s left"),
        ({"t_ns": 61 * S}, "over at 60 s, drain 9 s at most"),
        ({"t_ns": 80 * S}, "over at 60 s, drain 0 s at most"),
        ({"t_ns": 4 * S, "cut_ns": 4 * S, "end_ns": 14 * S}, "cut at 4 s, drain 10 s at most"),
        ({"duration_ns": 7200 * S, "t_ns": 3725 * S}, "1:02:05 of 2:00:00, 57:55 left"),
        ({"target_rate": None, "concurrency": 8, "dist": "closed"}, "closed   concurrency 8"),
        ({"target_rate": 0.5, "sent_rate": 0.25, "ok_rate": 0.0}, "target 0.5/s   sent 0.25/s"),
        ({"p50_ns": None, "p99_ns": None}, "response  no OK answers   last 3 s"),
        ({"limit": None, "recent_ns": 5 * S}, "violated  0.31 %   no SLO   last 5s"),
        ({"recent_decided": 0, "recent_violations": 0}, "nothing decided, limit 1 %"),
        ({"dropped": 12}, "dropped 12"),
        ({"servers": server(ACTIVE)}, "active  "),
        ({"servers": server(ACTIVE, False)}, "active, no connection"),
        ({"servers": server(STANDBY)}, "standby  "),
        ({"servers": server(STANDBY, False)}, "   no connection "),
        ({"servers": server(MISSING, False)}, "missing  "),
        ({"servers": server(EJECTED, True, 29 * S)}, "ejected 29 s  "),
        ({"inflight_cap": None}, "in flight 350\n"),
        ({"phase": "warm-up", "duration_ns": 2 * S, "t_ns": S}, "warm-up   ######"),
    ],
)
def test_what_is_said(fields: dict[str, object], said: str) -> None:
    assert said in shown(changed(**fields)) + "\n"


def test_over_the_limit_is_not_said_by_colour_alone() -> None:
    over = changed(recent_violations=1000)
    assert "###############|##############   2.00 %, limit 1 %, last 25s" in shown(over)
    texts = view_lines(over, 79, 23, ASCII)
    assert any("red" in str(span.style) for line in texts for span in line.spans)


@pytest.mark.parametrize("columns", [*range(1, 40, 7), *range(40, 121)])
@pytest.mark.parametrize("name", ["h:1", HOSTILE, "日本語" * 30])
def test_no_line_is_wider_than_the_terminal(columns: int, name: str) -> None:
    states = [(ACTIVE, True), (EJECTED, False), (MISSING, False)]
    servers = tuple(ServerState(name, state, up, 10**6, 299 * S) for state, up in states)
    hostile = changed(model=name, servers=servers, ok=10**12, dropped=10**12)
    for line in view_lines(hostile, columns, 60, LINES):
        assert line.cell_len <= columns
        assert line.plain.isprintable()


@pytest.mark.parametrize("rows", range(24))
def test_there_are_no_more_lines_than_rows(rows: int) -> None:
    many = tuple(ServerState(f"h:{n}", ACTIVE if n == 20 else STANDBY, True, 0) for n in range(32))
    lines = shown(changed(servers=many), 79, rows).splitlines()
    assert len(lines) == rows
    if rows >= 7:
        assert "server U  h:20   active" in "\n".join(lines)
        assert lines[-1] == f"and {32 - (rows - 6)} servers more"


def test_markup_in_a_name_is_text() -> None:
    assert "[bold red]b[/]" in shown(changed(model="[bold red]b[/]"))


@given(st.text(max_size=60), st.integers(1, 130), st.integers(0, 40))
def test_any_name_fits(name: str, columns: int, rows: int) -> None:
    servers = (ServerState(name, ACTIVE, False, 3), ServerState(name, EJECTED, True, 3, S))
    lines = view_lines(changed(model=name, servers=servers), columns, rows, LINES)
    assert len(lines) <= rows
    for line in lines:
        assert line.cell_len <= columns
        assert line.plain.isprintable()
