"""The embedded server's script: what it does wrong, and when."""

from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from harness.errors import UsageError
from harness.grpc_codes import GRPC_CODES
from harness.units import format_duration_ns, parse_duration_ns, parse_share

MAX_PHASES = 1000


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
    if value not in GRPC_CODES[1:]:
        raise UsageError(
            f"script entry {text.strip()!r}: unknown gRPC status {value!r}; "
            f"known: {', '.join(GRPC_CODES[1:])}"
        )
    return Phase(at_ns, Action.ERROR, share, status=GRPC_CODES.index(value))


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
                f"{format_duration_ns(later.at_ns)} after {format_duration_ns(earlier.at_ns)}"
            )
    return phases
