"""The text of an examination: every row, 80 columns, nothing a name could put into it."""

from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.judgement import judge
from harness.doctor.text import doctor_text
from tests.doctor.made_up import GOOD, facts


def test_a_good_host() -> None:
    lines = doctor_text(GOOD, judge(GOOD)).splitlines()
    assert lines[0] == "harness doctor  Imaginary(R) Processor  kernel 6.1.0"
    assert lines[1] == "clock source   ok    tsc, 22 ns a read"
    assert lines[-1] == "all 10 ok"
    assert len(lines) == 12


def test_advice_stands_under_its_row() -> None:
    found = facts(cpu_quota=0.5, governor="powersave")
    text = doctor_text(found, judge(found))
    assert "governor       look  powersave\n                     -> clocks down" in text
    assert "CPU quota      look  0.5 CPUs\n                     -> workers sleep" in text
    assert text.endswith("\nlook at 2 of 10\n")


@given(st.text(), st.text(), st.text(), st.floats(0, 1e12), st.integers(0, 10**12))
def test_eighty_columns(model: str, kernel: str, url: str, read_ns: float, floor_ns: int) -> None:
    found = facts(
        cpu_model=model,
        kernel=kernel,
        governor=url,
        path_url=url,
        clock_read_ns=read_ns,
        path_floor_ns=floor_ns,
        cpus_allowed=list(range(1, 500, 2)),
    )
    text = doctor_text(found, judge(found))
    for line in text[:-1].split("\n"):
        assert len(line) <= 80
        assert line.isprintable()
