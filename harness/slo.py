"""The service-level objective, read from ``50ms`` with a limit, or from ``p99<50ms``."""

import re
from decimal import Decimal

from harness.config import DAY_NS, Slo
from harness.errors import UsageError
from harness.units import parse_duration_ns
from harness.untrusted import clean_text

DEFAULT_VIOLATION_LIMIT = 0.05

_PERCENTILE_SLO = re.compile(r"p([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*<\s*([^<>=\s].*)")


def parse_slo(text: str, violation_limit: float | None = None) -> Slo:
    """T and L from ``50ms`` (L is ``violation_limit``, 5 % if None) or ``p99<50ms`` (L is 1 %).

    Raises UsageError: grammar, T of zero, L outside (0, 1), two limits that differ.
    """
    shown = clean_text(text, 60)
    if violation_limit is not None and not 0 < violation_limit < 1:
        raise UsageError(
            f"--violation-limit {violation_limit:g} is not within 0..1, ends left out; write 5%"
        )
    words = text.strip()
    match = _PERCENTILE_SLO.fullmatch(words)
    if match is None:
        if words.startswith("p") or any(sign in words for sign in "<>="):
            raise UsageError(f"not an SLO: '{shown}'; write it like 50ms or p99<50ms")
        limit = DEFAULT_VIOLATION_LIMIT if violation_limit is None else violation_limit
        duration_text = words
    else:
        percentile = Decimal(match[1])
        if not 0 < percentile < 100:
            raise UsageError(
                f"SLO '{shown}': percentile {match[1]} is not within 0..100, ends left out"
            )
        limit = float((100 - percentile) / 100)
        if violation_limit is not None and violation_limit != limit:
            raise UsageError(
                f"SLO '{shown}' allows {limit:.6g}, the violation limit says {violation_limit:.6g};"
                " give one of them"
            )
        duration_text = match[2]
    threshold_ns = parse_duration_ns(duration_text)
    if threshold_ns == 0:
        raise UsageError(f"SLO '{shown}' is zero; nothing could be in time, give more than 0")
    if threshold_ns > DAY_NS:
        raise UsageError(f"SLO '{shown}' is longer than a day; give less")
    return Slo(threshold_ns=threshold_ns, limit=limit, text=clean_text(words, 60))
