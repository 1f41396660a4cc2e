"""A chart as data: what ``charts.js`` draws. Axes, series, and what is marked in them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 1500
"""Of one series: more than pixels to draw them on."""
DIGITS = 5

Color = int | Literal["ink", "muted", "bad"]
"""A server's or group's place in the palette, or a role."""


@dataclass(frozen=True)
class Axis:
    """``low`` and ``high`` in the unit of the data, also where it is ``log``."""

    title: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Series:
    """``hints``: what is said of each point beside its figures. None in ``y``: a gap."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    color: Color = "ink"
    style: Literal["line", "thin", "dashed", "area", "marks"] = "line"
    hints: Sequence[str] = ()


@dataclass(frozen=True)
class Level:
    """A bound, as a line across."""

    y: float
    text: str


@dataclass(frozen=True)
class Moment:
    """Something that happened, as a line upwards."""

    x: float
    text: str
    kind: Literal["switch", "event", "onset"] = "switch"


@dataclass(frozen=True)
class Span:
    """A stretch of time, as a band."""

    x0: float
    x1: float
    kind: Literal["outage", "window"]


@dataclass(frozen=True)
class Chart:
    """``missing``: why there is nothing to draw. Charts of kind ``time`` are zoomed together."""

    title: str
    x: Axis
    y: Axis
    kind: Literal["time", "percentile"]
    series: tuple[Series, ...] = ()
    levels: tuple[Level, ...] = ()
    moments: tuple[Moment, ...] = ()
    spans: tuple[Span, ...] = ()
    unit: str = ""
    note: str = ""
    missing: str = ""


def numbers(values: Iterable[Any], digits: int = DIGITS) -> list[float | None]:
    """Rounded to so many significant digits; None for what is no finite number."""
    rounded: list[float | None] = []
    for value in values:
        if value is None or not np.isfinite(value):
            rounded.append(None)
        else:
            short = float(f"{value:.{digits}g}")
            rounded.append(int(short) if short.is_integer() else short)
    return rounded


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[list[float | None], list[float | None]]:
    """At most so many points, with the lowest and the highest of each stretch. NaN: a gap."""
    if len(y) > most:
        width = -(-len(y) // (most // 2))
        padded = np.full(-(-len(y) // width) * width, np.nan)
        padded[: len(y)] = y
        parts = padded.reshape(-1, width)
        starts = np.arange(len(parts)) * width
        lowest = starts + np.where(np.isnan(parts), np.inf, parts).argmin(axis=1)
        highest = starts + np.where(np.isnan(parts), -np.inf, parts).argmax(axis=1)
        kept = np.unique(np.concatenate([lowest, highest]))
        kept = kept[kept < len(y)]
        x, y = x[kept], y[kept]
    return numbers(x, 7), numbers(y)
