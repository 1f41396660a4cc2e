"""One switch, as measured: what was seen, when it was decided, and when each worker knew."""

from dataclasses import dataclass


@dataclass
class Switch:
    """The load moved from server ``source`` to server ``target`` (indices in ``-u`` order).

    Times in ns since the run's start. ``t_detect_ns``: the last needed bucket was complete;
    ``t_decide_ns``: the clock just before the verdict was stored.
    """

    epoch: int  # of the verdict that was stored; its slots carry it
    source: int
    target: int
    rule: str  # "rate", "hard-down", "stalled" or "plain"
    n: int  # decided slots in the evidence; requests in flight where they are stalled
    x: int  # violations among them; the same requests
    bound: float  # what x had to exceed, or for hard-down to reach
    t_onset_ns: int
    t_detect_ns: int
    t_decide_ns: int
    t_seen_ns: list[int | None]  # by worker; None: it died or ended before
    in_flight: list[int]  # by server, at the decision
