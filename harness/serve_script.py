"""The embedded server's script: what it does wrong, and when."""

import math
import re
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from harness.errors import UsageError

NS_PER_UNIT = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
MAX_DURATION_NS = 365 * 24 * NS_PER_UNIT["h"]
MAX_PHASES = 1000

STATUSES = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""gRPC's status codes by name, OK left out."""


class Action(IntEnum):
    """What an entry asks for; the numbers are those of the extension.

    States last until the next entry: OK to REFUSE. The others happen once, and after them the
    server is as under OK.
    """

    OK = 0
    LATENCY = 1
    ERROR = 2
    HANG = 3
    REFUSE = 4
    GOAWAY = 5
    GOAWAY_ABRUPT = 6
    RESET = 7
    HALFCLOSE = 8
    GARBAGE = 9


PLAIN_ACTIONS = {
    action.name.lower(): action for action in Action if action not in (Action.LATENCY, Action.ERROR)
}


class Phase(NamedTuple):
    """One entry: `at_ns` after the first inference request, `action` for `share` of requests."""

    at_ns: int
    action: Action
    share: float = 1.0
    latency_ns: int = 0  # of LATENCY
    status: int = 0  # of ERROR


def parse_duration_ns(text: str) -> int:
    """`20ms`, `1.5s`, `2m` in ns; 0 needs no unit.

    Raises:
        UsageError: not a duration, or longer than a year.
    """
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(ns|us|ms|s|m|h)?", text.strip(), re.ASCII)
    if match is None or (match[2] is None and float(match[1]) != 0):
        raise UsageError(f"not a duration: {text.strip()!r}; write 20ms, 1.5s or 2m")
    whole, _, fraction = match[1].partition(".")
    unit_ns = NS_PER_UNIT[match[2] or "s"]
    duration_ns = int(whole) * unit_ns + int(fraction.ljust(9, "0")) * unit_ns // 10**9
    if duration_ns > MAX_DURATION_NS:
        raise UsageError(f"duration too long: {text.strip()!r}; a year at most")
    return duration_ns


def parse_share(text: str) -> float:
    """`20%` or `0.2` as a fraction in [0, 1].

    Raises:
        UsageError: not a share, or outside that range.
    """
    number = text.strip()
    percent = number.endswith("%")
    try:
        share = float(number.removesuffix("%"))
    except ValueError:
        share = math.nan
    share = share / 100 if percent else share
    if not 0 <= share <= 1:
        raise UsageError(f"not a share: {text.strip()!r}; write 20% or 0.2")
    return share


def parse_entry(text: str) -> Phase:
    """One entry, `2s: latency=80ms@20%`.

    Raises:
        UsageError: naming the part that cannot be read.
    """
    time, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(f"script entry {text.strip()!r}: no ':' between time and action")
    at_ns = parse_duration_ns(time)
    name, equals, argument = rest.strip().partition("=")
    name = name.strip()
    if name in PLAIN_ACTIONS:
        if equals:
            raise UsageError(f"script entry {text.strip()!r}: {name} takes no value")
        return Phase(at_ns, PLAIN_ACTIONS[name])
    if name not in ("latency", "error"):
        known = ", ".join(["latency=D@P%", "error=NAME@P%", *PLAIN_ACTIONS])
        raise UsageError(f"script entry {text.strip()!r}: unknown action {name!r}; known: {known}")
    value, at, share_text = argument.partition("@")
    value = value.strip()
    share = parse_share(share_text) if at else 1.0
    if name == "latency":
        return Phase(at_ns, Action.LATENCY, share, latency_ns=parse_duration_ns(value))
    if value not in STATUSES:
        raise UsageError(
            f"script entry {text.strip()!r}: unknown gRPC status {value!r}; "
            f"known: {', '.join(STATUSES)}"
        )
    return Phase(at_ns, Action.ERROR, share, status=STATUSES[value])


def parse_script(text: str) -> tuple[Phase, ...]:
    """Entries separated by `;`, in the order of their times; empty entries are ignored.

    Raises:
        UsageError: with the offending part, on one line.
    """
    phases = tuple(parse_entry(entry) for entry in text.split(";") if entry.strip())
    if len(phases) > MAX_PHASES:
        raise UsageError(f"script has {len(phases)} entries; {MAX_PHASES} at most")
    for earlier, later in pairwise(phases):
        if later.at_ns < earlier.at_ns:
            raise UsageError(
                f"script times go back: {later.action.name.lower()} at "
                f"{format_duration(later.at_ns)} after {format_duration(earlier.at_ns)}"
            )
    return phases


def format_duration(duration_ns: int) -> str:
    """The shortest exact spelling that parse_duration_ns reads back."""
    for unit in ("h", "m", "s", "ms", "us"):
        if duration_ns % NS_PER_UNIT[unit] == 0:
            return f"{duration_ns // NS_PER_UNIT[unit]}{unit}"
    return f"{duration_ns}ns"


def format_script(phases: tuple[Phase, ...]) -> str:
    """A text that parse_script reads back to the same phases."""
    names = {code: name for name, code in STATUSES.items()}
    entries = []
    for phase in phases:
        action = phase.action.name.lower()
        if phase.action == Action.LATENCY:
            action += f"={format_duration(phase.latency_ns)}@{phase.share!r}"
        elif phase.action == Action.ERROR:
            action += f"={names[phase.status]}@{phase.share!r}"
        entries.append(f"{format_duration(phase.at_ns)}: {action}")
    return "; ".join(entries)
