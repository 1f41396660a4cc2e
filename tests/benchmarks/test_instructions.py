"""The worker's cost per request in instructions: it must not grow unseen."""

import warnings

import pytest

from benchmarks.instructions import Instructions, count, grown, load_stored, parts

HERE = {"nghttp2": "1.52.0", "compiler": "gcc 12"}
OUTPUT = """\
# callgrind format
events: Ir

ob=(1) /usr/lib/libnghttp2.so.14.24.1
fl=(1) ???
fn=(1) nghttp2_session_mem_send
0 100
+3 7

ob=(2) /clone/harness/_core.cpython-311-x86_64-linux-gnu.so
fl=(2) harness/_core.c
fn=(2) loop
10 5
cob=(1)
cfi=(1)
cfn=(1)
calls=2 0
12 107
* 6
-2 4
fl=(2)
fn=(2)
14 1000

totals: 1122
"""


def test_a_request_costs_no_more_instructions_than_stored() -> None:
    stored = load_stored()
    # A starved server answers in smaller batches, which cost the client more turns.
    for _ in range(3):
        found = count()
        over, lines = grown(found, stored)
        if not over:
            break
    if found.versions != stored.versions:
        warnings.warn("\n".join(lines), stacklevel=1)
    assert not over, "\n".join(lines)


def test_own_cost_by_part() -> None:
    assert parts(OUTPUT) == {"libnghttp2": 107, "_core": 1015}


@pytest.mark.parametrize(
    ("total", "versions", "over"),
    [
        (1049.0, HERE, False),
        (1051.0, HERE, True),
        (500.0, HERE, False),
        (1200.0, {**HERE, "compiler": "gcc 14"}, False),
        (1251.0, {**HERE, "nghttp2": "1.70.0"}, True),
    ],
)
def test_bound(total: float, versions: dict[str, str], over: bool) -> None:
    stored = Instructions(1000.0, {"_core": 1000.0}, HERE)
    found = Instructions(total, {"_core": total}, versions)
    assert grown(found, stored)[0] is over


def test_what_grew_is_named_first() -> None:
    stored = Instructions(1000.0, {"_core": 400.0, "libc": 600.0}, HERE)
    found = Instructions(1200.0, {"_core": 420.0, "libc": 600.0, "_new": 180.0}, HERE)
    over, lines = grown(found, stored)
    assert over
    assert "1200 instructions per request, stored 1000: +20.0 %" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["_new", "_core"]
    assert "--write" in lines[-1]
