"""The ranges that figures of results lie in: what is read back is refused outside them."""

from typing import Annotated

from pydantic import Field

MOST = 2**62
"""More than any count or time of a run; sums of two still fit 64 bits."""

LONGEST_NS = 2**56
"""More than any time inside a run: 834 days, where a plan has 366."""

Count = Annotated[int, Field(ge=0, le=MOST)]
TimeNs = Annotated[int, Field(ge=-LONGEST_NS, le=LONGEST_NS)]  # may lie before the run's start
DurationNs = Annotated[int, Field(ge=0, le=LONGEST_NS)]
MeanNs = Annotated[float, Field(ge=0, le=LONGEST_NS, allow_inf_nan=False)]
PerSecond = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, le=2**31)]
