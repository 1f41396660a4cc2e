import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from harness.untrusted import clean_text


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
