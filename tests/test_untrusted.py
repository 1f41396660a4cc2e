import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.untrusted import FORMULA_STARTS, clean_text, csv_cell


def test_control_sequences_go_and_lines_become_one():
    assert clean_text("a\x1b[31mb\r\nc\td\u202ee\u2028f\x00") == "a[31mb c de f"


def test_long_text_is_cut_and_marked():
    assert clean_text("x" * 300, 10) == "xxxxxxx..."
    assert clean_text("\x00" * 10_000_000 + "tail", 10) == "..."


@given(st.text(max_size=500), st.integers(4, 60))
def test_always_printable_and_bounded(text, size):
    line = clean_text(text, size)
    assert len(line) <= size
    assert not any(unicodedata.category(char).startswith("C") for char in line)
    assert clean_text(line, size) == line


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("gpu1:8001", "gpu1:8001"),
        ("[::1]:8001", "[::1]:8001"),
        ("", ""),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("\r=1", "'=1"),
        ("\x00=1", "'=1"),
        ("\u202e=1", "'=1"),
        (' "=1"', '\'"=1"'),
        ("''=1", "'''=1"),
        ("` -1", "'` -1"),
        ("\uff1d1", "'\uff1d1"),
        ("a=1", "a=1"),
        ("a\n=1", "a =1"),
    ],
)
def test_no_cell_starts_a_formula(name, cell):
    assert csv_cell(name) == cell


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n\"'` \x00\u202e\uff1dab1,;"), max_size=20))
def test_a_formula_is_never_first(text):
    cell = csv_cell(text)
    assert not cell.startswith(FORMULA_STARTS)
    assert not cell.lstrip('" ').startswith(FORMULA_STARTS)
    assert cell in (clean_text(text), "'" + clean_text(text))
