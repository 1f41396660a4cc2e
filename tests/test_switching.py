"""Policies, rates and commands as people spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import MAX_COMMAND_BYTES, AtCommand
from harness.errors import UsageError
from harness.switching import parse_at, parse_per_second, parse_policy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failover", ("failover", ())),
        (" round-robin ", ("round-robin", ())),
        ("least-outstanding", ("least-outstanding", ())),
        ("weighted:3,1", ("weighted", (3, 1))),
        ("weighted: 3 , 1000", ("weighted", (3, 1000))),
        ("weighted:7", ("weighted", (7,))),
    ],
)
def test_policies(text, expected):
    assert parse_policy(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a policy: ''"),
        ("Failover", "not a policy: 'Failover'"),
        ("weighted", "lacks its weights"),
        ("weighted:", "lacks its weights"),
        ("weighted:3,", "weight ''"),
        ("weighted:3,0", "weight '0' is not a whole number within 1..1000"),
        ("weighted:3,-1", "weight '-1'"),
        ("weighted:1.5,1", "weight '1.5'"),
        ("weighted:1001,1", "weight '1001'"),
        ("weighted:٣,1", "weight '٣'"),
        ("round-robin:1,2", "round-robin takes no weights"),
    ],
)
def test_bad_policies(text, said):
    with pytest.raises(UsageError) as caught:
        parse_policy(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1/s", 1.0), ("0.5/s", 0.5), (".5/s", 0.5), ("0", 0.0), ("0/s", 0.0), (" 20 / s ", 20.0)],
)
def test_rates(text, expected):
    assert parse_per_second(text) == expected


@pytest.mark.parametrize("text", ["", "1", "-1/s", "1/m", "/s", "1e3/s", "nan/s", "1s", "1/s/s"])
def test_bad_rates(text):
    with pytest.raises(UsageError, match=r"write it like 1/s or 0\.5/s, or 0"):
        parse_per_second(text)


@pytest.mark.parametrize(
    ("text", "at_ns", "command"),
    [
        ("10s: kill -STOP 4711", 10_000_000_000, "kill -STOP 4711"),
        ("0:true", 0, "true"),
        (" 1.5s :  date +%H:%M:%S \n", 1_500_000_000, "date +%H:%M:%S"),
        ("2m: a\nb", 120_000_000_000, "a\nb"),
    ],
)
def test_commands(text, at_ns, command):
    assert parse_at(text) == AtCommand(at_ns=at_ns, command=command)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no ':'"),
        ("touch hunter22", "no ':'"),
        ("10: touch hunter22", "has no unit"),
        ("soon: touch hunter22", "not a duration: 'soon'"),
        (": touch hunter22", "not a duration: ''"),
        ("-1s: touch hunter22", "not a duration: '-1s'"),
        ("10s:", "no command at 10s"),
        ("10s:  \n", "no command at 10s"),
        ("10s: touch hunter22\0", "holds a NUL"),
        ("10s: touch hunter22" + "x" * MAX_COMMAND_BYTES, "over 100000 bytes"),
        ("10s: touch hunter22\udcff", "not UTF-8"),
        ("9000h: touch hunter22", "later than any run"),
    ],
)
def test_bad_commands(text, said):
    with pytest.raises(UsageError) as caught:
        parse_at(text)
    assert said in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("parse", [parse_policy, parse_per_second, parse_at])
@given(text=st.text(max_size=40))
def test_any_text_is_read_or_a_usage_error(parse, text):
    said = "read"
    try:
        parse(text)
    except UsageError as error:
        said = str(error)
    assert said.isprintable()
