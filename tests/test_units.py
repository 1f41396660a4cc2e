import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.units import (
    MAX_NS,
    format_bytes,
    format_count,
    format_duration_ns,
    format_latency_ms,
    parse_cpus,
    parse_duration_ns,
    parse_shape,
    parse_share,
    server_letter,
)


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("50ms", 50_000_000),
        ("5s", 5_000_000_000),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("7ns", 7),
        ("1.5s", 1_500_000_000),
        (" 0.001us ", 1),
        ("0s", 0),
        ("50 ms", 50_000_000),
        ("9223372036854775807ns", MAX_NS),
    ],
)
def test_durations(text, expected_ns):
    assert parse_duration_ns(text) == expected_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ms",
        "-5s",
        "5 parsecs",
        "1e3s",
        "0.5ns",
        "5s5s",
        "٣s",
        "1.s",
        "9223372036854775808ns",
        "s5",
    ],
)
def test_bad_durations(text):
    with pytest.raises(UsageError) as caught:
        parse_duration_ns(text)
    assert "\n" not in str(caught.value)


def test_bare_number_names_the_units():
    with pytest.raises(UsageError, match=r"'50' has no unit; write 50ms, 50s or 50m"):
        parse_duration_ns("50")


@given(st.integers(0, MAX_NS))
def test_durations_read_back(duration_ns):
    assert parse_duration_ns(format_duration_ns(duration_ns)) == duration_ns


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (50_000_000, "50ms"),
        (1_500_000_000, "1.5s"),
        (90_000_000_000, "90s"),
        (120_000_000_000, "2m"),
        (3_600_000_000_000, "1h"),
        (1_234_567, "1234.567us"),
        (999, "999ns"),
        (-50_000_000, "-50ms"),
    ],
)
def test_duration_texts(duration_ns, text):
    assert format_duration_ns(duration_ns) == text


@pytest.mark.parametrize(
    ("text", "share"),
    [("5%", 0.05), ("0.05", 0.05), (".5", 0.5), ("100%", 1.0), ("0.1 %", 0.001), ("0", 0.0)],
)
def test_shares(text, share):
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["5", "1", "1.0", "101%", "-5%", "", "%", "five", "5%%", "nan"])
def test_bad_shares(text):
    with pytest.raises(UsageError):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:3,224,224", ("data", (3, 224, 224))),
        ("a:b:0:7", ("a:b:0", (7,))),
        ("x: 1, 2147483647", ("x", (1, 2**31 - 1))),
    ],
)
def test_shapes(text, expected):
    assert parse_shape(text) == expected


@pytest.mark.parametrize(
    "text",
    ["data", ":3", "data:", "data:0", "data:-1", "data:3,,4", "data:2147483648", "data:1.5",
     "data:" + ",".join("1" * 17), "data:²"],
)  # fmt: skip
def test_bad_shapes(text):
    with pytest.raises(UsageError):
        parse_shape(text)


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("0,2-3", (0, 2, 3)), ("5, 1", (5, 1)), ("2-2", (2,))]
)
def test_cpus(text, cpus):
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "3-2", "0,0", "0-2,1", "0-999999", "0-99999999999", "1,,2"]
)
def test_bad_cpus(text):
    with pytest.raises(UsageError):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("latency_ns", "text"),
    [
        (8_410_000, "8.41"),
        (13_019_700, "13.02"),
        (15_800_000, "15.8"),
        (4_000, "0.004"),
        (1_912, "0.0019"),
        (61_049, "0.061"),
        (190_000, "0.19"),
        (800_000, "0.8"),
        (9_999_600, "10"),
        (999_951, "1"),
        (653_123_456, "653.1"),
        (9_999_499_999, "9999"),
        (12_345_678_901, "12346"),
        (0, "0"),
        (49, "0"),
        (50, "0.0001"),
        (-8_410_000, "-8.41"),
        (-1, "0"),
    ],
)
def test_latencies(latency_ns, text):
    assert format_latency_ms(latency_ns) == text


@given(st.integers(0, 10**13))
def test_latency_is_within_half_a_digit(latency_ns):
    shown_ns = float(format_latency_ms(latency_ns)) * 1e6
    assert abs(shown_ns - latency_ns) <= max(latency_ns / 2000, 50) * 1.000001


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (120_018, "120018"), (1_000_000, "1 000 000"), (-5, "-5")]
)
def test_counts(count, text):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (256 * 2**20, "256 MiB"),
     (1010 * 2**20, "1010 MiB"), (2**50, "1024 TiB")],
)  # fmt: skip
def test_sizes(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(("index", "name"), [(0, "A"), (25, "Z"), (26, "26")])
def test_servers_are_letters(index: int, name: str) -> None:
    assert server_letter(index) == name
