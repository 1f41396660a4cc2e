import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.slo import parse_slo


@pytest.mark.parametrize(
    ("text", "limit_given", "threshold_ns", "limit"),
    [
        ("50ms", None, 50_000_000, 0.05),
        ("50ms", 0.2, 50_000_000, 0.2),
        ("p99<50ms", None, 50_000_000, 0.01),
        ("p99 < 1.5s", None, 1_500_000_000, 0.01),
        ("p99.9<50ms", None, 50_000_000, 0.001),
        ("p50<1ms", 0.5, 1_000_000, 0.5),
        ("p99<50ms", 0.01, 50_000_000, 0.01),
    ],
)
def test_slos(text, limit_given, threshold_ns, limit):
    slo = parse_slo(text, limit_given)
    assert (slo.threshold_ns, slo.limit, slo.text) == (threshold_ns, limit, text)


@pytest.mark.parametrize(
    ("text", "limit_given", "said"),
    [
        ("p99<50ms", 0.05, "allows 0.01, the violation limit says 0.05"),
        ("50ms", 0.0, "not within"),
        ("50ms", 1.0, "not within"),
        ("50ms", float("nan"), "not within"),
        ("0ms", None, "is zero"),
        ("p99<0s", None, "is zero"),
        ("p100<50ms", None, "percentile 100"),
        ("p0<50ms", None, "percentile 0"),
        ("p99<=50ms", None, "not an SLO"),
        ("p99>50ms", None, "not an SLO"),
        ("99<50ms", None, "not an SLO"),
        ("p99", None, "not an SLO"),
        ("p99<", None, "not an SLO"),
        ("50", None, "no unit"),
        ("p99<50", None, "no unit"),
        ("", None, "not a duration"),
    ],
)
def test_bad_slos(text, limit_given, said):
    with pytest.raises(UsageError, match=said):
        parse_slo(text, limit_given)


@given(st.integers(1, 99), st.integers(0, 999))
def test_percentile_and_its_own_limit_agree(whole, thousandths):
    text = f"{whole}.{thousandths:03d}"
    slo = parse_slo(f"p{text}<10ms")
    assert parse_slo(f"p{text}<10ms", slo.limit) == slo
    assert abs(slo.limit - (1 - float(text) / 100)) < 1e-12
