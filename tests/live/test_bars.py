"""Bars: as long as asked, and honest at their ends and at the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.live.bars import ASCII, LINES, bar, limit_bar, marks_for


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "----------"),
        (0.001, "#---------"),
        (0.5, "#####-----"),
        (0.999, "#########-"),
        (1.0, "##########"),
        (7.0, "##########"),
    ],
)
def test_bar(share: float, text: str) -> None:
    assert bar(share, 10, ASCII).plain == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "-----|----"),
        (0.0001, "#----|----"),
        (0.025, "##---|----"),
        (0.05, "#####|----"),
        (0.0501, "#####|#---"),
        (0.08, "#####|##--"),
        (0.1, "#####|####"),
        (1.0, "#####|####"),
    ],
)
def test_bar_with_a_limit(share: float, text: str) -> None:
    found = limit_bar(share, 0.05, 10, ASCII)
    assert found.plain == text
    assert ("red" in str(found.spans)) == (share > 0.05)


@given(st.floats(0, 1), st.floats(1e-6, 0.999), st.integers(10, 120))
def test_any_bar_has_its_length(share: float, limit: float, cells: int) -> None:
    assert bar(share, cells, LINES).cell_len == cells
    assert limit_bar(share, limit, cells, LINES).cell_len == cells


@pytest.mark.parametrize(
    ("encoding", "marks"), [("utf-8", LINES), ("ascii", ASCII), ("latin-1", ASCII), ("x", ASCII)]
)
def test_marks_that_the_terminal_has(encoding: str, marks: object) -> None:
    assert marks_for(encoding) is marks
