"""The options that say when the load leaves a server and where it goes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from harness.cli.options import SWITCHING, option, read

if TYPE_CHECKING:
    from harness.config import AtCommand


def _switching(name: str, help: str, metavar: str | None = None) -> Any:
    return option(name, help=help, panel=SWITCHING, metavar=metavar)


Policy = Annotated[
    str | None,
    _switching(
        "--policy",
        "failover (default), round-robin, least-outstanding, or weighted:3,1 with a weight per -u.",
    ),
]
Eject = Annotated[
    bool | None,
    _switching("--eject", "Leave failing servers out, where the policy uses several at once."),
]
Rule = Annotated[
    str | None,
    _switching(
        "--rule",
        "default, or plain: a window of 5 s over the limit, and nothing else. Needs --slo.",
    ),
]
Window = Annotated[
    str | None,
    _switching("--window", "Of the violation rate; max(5 s, stall tolerance / limit)."),
]
StallTolerance = Annotated[
    str | None,
    _switching("--stall-tolerance", "A pause this long is no reason to leave; 250ms."),
]
Dwell = Annotated[
    str | None,
    _switching("--dwell", "So long after a switch only a server that is down is left; 10s."),
]
CoolDown = Annotated[
    str | None,
    _switching("--cool-down", "So long a server that was left is not used; 30s, longer each time."),
]
OnAllBad = Annotated[
    str | None,
    _switching("--on-all-bad", "stay (default), or stop: end the run and exit 4."),
]
Require = Annotated[
    str | None,
    _switching("--require", "Servers that must be fit to start: all (default) or any."),
]
KeepWarm = Annotated[
    str | None,
    _switching("--keep-warm", "Requests to each server not in use; 1/s, 0 for none.", "N/s"),
]
At = Annotated[
    list[str] | None,
    _switching(
        "--at",
        "Run a shell command at this time of the plan, such as '10s: kill -STOP 4711'; repeatable.",
        "'TIME: COMMAND'",
    ),
]


def given(
    *,
    policy: str | None,
    eject: bool | None,
    rule: str | None,
    window: str | None,
    stall_tolerance: str | None,
    dwell: str | None,
    cool_down: str | None,
    on_all_bad: str | None,
    require: str | None,
    keep_warm: str | None,
) -> dict[str, Any]:
    """The fields of Switching that were given. Raises UsageError naming the option."""
    from harness.switching import parse_per_second, parse_policy
    from harness.units import parse_duration_ns

    name, weights = read("--policy", parse_policy, policy) or (None, None)
    fields = {
        "policy": name,
        "weights": weights,
        "eject": eject,
        "rule": rule,
        "given_window_ns": read("--window", parse_duration_ns, window),
        "stall_tolerance_ns": read("--stall-tolerance", parse_duration_ns, stall_tolerance),
        "dwell_ns": read("--dwell", parse_duration_ns, dwell),
        "cool_down_ns": read("--cool-down", parse_duration_ns, cool_down),
        "on_all_bad": on_all_bad,
        "require": require,
        "keep_warm": read("--keep-warm", parse_per_second, keep_warm),
    }
    return {name: value for name, value in fields.items() if value is not None}


def commands(texts: Sequence[str]) -> tuple["AtCommand", ...]:
    """What is to run when. Raises UsageError naming the option."""
    from harness.switching import parse_at

    found = (read("--at", parse_at, text) for text in texts)
    return tuple(one for one in found if one is not None)
