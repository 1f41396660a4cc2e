"""Cost of a million inferences: price by the hour over what was answered in time."""

from typing import Any

import pytest

from harness.records import Outcome
from harness.results.cost import CostPart, cost_part
from tests.synthetic import synthetic_run


def cost_of(usd: float = 7.2, **changes: Any) -> tuple[CostPart | None, int, int]:
    """With the numbers answered OK and in the SLO within the planned time."""
    config = {"cost_usd_per_h": usd, **changes.pop("config", {})}
    run = synthetic_run(config=config, **changes)
    ok, in_slo = (int(count) for count in run.tally.inside.sum(axis=0))
    return cost_part(run), ok, in_slo


def test_without_a_price() -> None:
    assert cost_part(synthetic_run()) is None


@pytest.mark.parametrize("batch", [1, 8])
def test_in_the_slo(batch: int) -> None:
    found, ok, in_slo = cost_of(slo_ns=5_000_000, config={"batch": batch})
    assert 0 < in_slo < ok
    # 7.2 USD/h are 0.002 USD in the planned second.
    assert found is not None
    assert found.usd_per_hour == 7.2
    assert found.usd_per_million == pytest.approx(2000 / (in_slo * batch))


def test_without_an_slo_those_answered_ok() -> None:
    found, ok, _ = cost_of(slo_ns=None, mix={Outcome.OK: 3, Outcome.ERROR: 1})
    assert found is not None
    assert found.usd_per_million == pytest.approx(2000 / ok)


def test_up_to_the_cut() -> None:
    found, _, in_slo = cost_of(cut_ns=500_000_000)
    assert found is not None
    assert found.usd_per_million == pytest.approx(1000 / in_slo)


def test_nothing_to_share_it() -> None:
    found, _, in_slo = cost_of(mix={Outcome.ERROR: 1})
    assert in_slo == 0
    assert found == CostPart(usd_per_hour=7.2, usd_per_million=None)
