"""Energy and cost as metrics: read where they are known, and below 1 as good as above."""

import pytest

from harness.compare.metrics import BY_NAME
from harness.compare.text import value_text
from harness.results.books import check_books
from harness.results.findings import judge
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from tests.results.used_devices import used
from tests.synthetic import synthetic_run


def summary_of(joules: float | None, usd: float | None) -> Summary:
    run = synthetic_run(config={"cost_usd_per_h": usd})
    run.devices = [[used("GPU-a", joules)]]
    return build_summary(run, judge(run, check_books(run)))


def test_lower_is_better() -> None:
    assert (BY_NAME["energy"].better, BY_NAME["cost"].better) == ("lower", "lower")


def test_not_known() -> None:
    summary = summary_of(None, None)
    assert BY_NAME["energy"].read(summary) is BY_NAME["cost"].read(summary) is None
    assert BY_NAME["energy"].positive(summary) is BY_NAME["cost"].positive(summary) is None


def test_known() -> None:
    summary = summary_of(3.0, 1e-3)
    assert summary.energy is not None
    assert summary.cost is not None
    joules, usd = summary.energy.joules_per_in_slo, summary.cost.usd_per_million
    assert joules is not None
    assert usd is not None
    assert joules < 1
    assert BY_NAME["energy"].positive(summary) == pytest.approx(joules)
    assert BY_NAME["cost"].positive(summary) == pytest.approx(usd)
    assert value_text(BY_NAME["energy"], 0.0125) == "0.0125 J"
    assert value_text(BY_NAME["cost"], 2.5) == "2.5 USD"
    assert value_text(BY_NAME["switches"], 3.0) == "3"
