"""The ranges that figures of results lie in: what is read back is refused outside them."""

from typing import Annotated

from pydantic import Field

MOST = 2**62
"""More than any count or time of a run; sums of two still fit 64 bits."""

Count = Annotated[int, Field(ge=0, le=MOST)]
TimeNs = Annotated[int, Field(ge=-MOST, le=MOST)]  # may lie before the run's start
DurationNs = Annotated[int, Field(ge=0, le=MOST)]
MeanNs = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
PerSecond = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, le=2**31)]
