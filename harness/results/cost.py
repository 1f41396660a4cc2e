"""What the inferences of a run cost, from the price of what was under test."""

from typing import Annotated

from pydantic import Field

from harness.config import MOST_USD_PER_H, NS_PER_S
from harness.results.parts import Part
from harness.results.rundata import RunData

SECONDS_PER_H = 3600


class CostPart(Part):
    """``usd_per_million`` inferences in the SLO (without one: answered OK) within the planned time.

    None if there was none.
    """

    usd_per_hour: Annotated[float, Field(ge=0, le=MOST_USD_PER_H, allow_inf_nan=False)]
    usd_per_million: Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)] | None


def cost_part(run: RunData) -> CostPart | None:
    """None without a price."""
    usd_per_hour = run.config.cost_usd_per_h
    if usd_per_hour is None:
        return None
    ok, in_slo = (int(count) for count in run.tally.inside.sum(axis=0))
    inferences = (ok if run.config.slo is None else in_slo) * run.config.batch
    usd = usd_per_hour / SECONDS_PER_H * max(1, run.end_ns) / NS_PER_S
    return CostPart(
        usd_per_hour=usd_per_hour,
        usd_per_million=1e6 * usd / inferences if inferences else None,
    )
