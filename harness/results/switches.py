"""The switches of a run: what each saw, did, and cost, before, during and after it."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, FailFast, Field

from harness._tally import BUCKET_FIELDS, EPOCH_FIELDS, EPOCH_LIMIT
from harness.config import NS_PER_S
from harness.load import switch as measured
from harness.records import BUCKET_NS
from harness.results.bounds import Count, PerSecond, Share, TimeNs
from harness.results.outages import Outage
from harness.results.parts import Part
from harness.results.rundata import RunData


class ServerShare(Part):
    """What one server got of the load over some time, by the slots due in it."""

    decided: Count
    violations: Count
    ok: Count  # answers OK, however late
    rate: PerSecond  # decided slots/s
    ok_rate: PerSecond  # OK answers/s


class Phase(Part):
    """Some time beside a switch, in whole buckets (50 ms)."""

    t_start_ns: TimeNs
    t_end_ns: TimeNs
    servers: dict[str, ServerShare]  # by URL, every server


class Phases(Part):
    """Up to the onset; from there until the last worker saw the switch; until the next onset.

    The first begins with the run, or where ``during`` of the switch before ends. The buckets that
    the onset and the last worker's ``t_seen_ns`` lie in belong to ``during``.
    """

    before: Phase
    during: Phase
    after: Phase


class Switch(Part):
    """The load moved from one server to another."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_: str = Field(alias="from")
    to: str
    rule: str
    t_onset_ns: TimeNs | None
    t_detect_ns: TimeNs
    t_decide_ns: TimeNs
    t_seen_ns: Annotated[
        list[TimeNs | None], FailFast()
    ]  # by worker; None: it died or ended before
    n: Count  # decided slots in the evidence
    x: Count  # violations among them
    rate: Share  # x / n
    bound: PerSecond  # what x had to exceed, or for hard-down to reach
    epoch: Count
    in_flight: dict[str, Count]  # by URL, at the decision
    last_slot_before: Count | None  # the highest handed under the epoch before; None: none, unknown
    first_slot_after: Count | None  # the lowest handed under its own
    command_ns: TimeNs | None  # when the last command since the switch before was started
    outage: int | None = Field(ge=0)  # index of the outage it lies in or ended
    phases: Phases


def last_seen_ns(switch: Switch | measured.Switch) -> int:
    """When the last worker that saw it did; the decision if none did."""
    return max([switch.t_decide_ns, *(t for t in switch.t_seen_ns if t is not None)])


def describe_switches(run: RunData, urls: Sequence[str], outages: Sequence[Outage]) -> list[Switch]:
    """All switches in order. ``urls``: the servers' names in results, in ``-u`` order."""
    edges = _edges(run)
    described = []
    t_before_ns = -1
    for index, switch in enumerate(run.switches):
        before, during, after, end = edges[2 * index : 2 * index + 4]
        described.append(
            Switch.model_validate(
                {
                    "from": urls[switch.source],
                    "to": urls[switch.target],
                    "rule": switch.rule,
                    "t_onset_ns": switch.t_onset_ns,
                    "t_detect_ns": switch.t_detect_ns,
                    "t_decide_ns": switch.t_decide_ns,
                    "t_seen_ns": switch.t_seen_ns,
                    "n": switch.n,
                    "x": switch.x,
                    "rate": switch.x / switch.n if switch.n else 0.0,
                    "bound": switch.bound,
                    "epoch": switch.epoch,
                    "in_flight": dict(zip(urls, switch.in_flight, strict=True)),
                    "last_slot_before": _slot(run, switch.epoch - 1, "last_slot"),
                    "first_slot_after": _slot(run, switch.epoch, "first_slot"),
                    "command_ns": _command_ns(run, t_before_ns, switch.t_decide_ns),
                    "outage": _outage(switch, outages),
                    "phases": Phases(
                        before=_phase(run, urls, before, during),
                        during=_phase(run, urls, during, after),
                        after=_phase(run, urls, after, end),
                    ),
                }
            )
        )
        t_before_ns = switch.t_decide_ns
    return described


def _edges(run: RunData) -> list[int]:
    """Buckets: 0, onset and last seen of each switch, the end; none before the one before it."""
    end = -(-run.end_ns // BUCKET_NS)
    edges = [0]
    for switch in run.switches:
        # The buckets that the two moments lie in are during, so that the others are clean.
        for edge in (switch.t_onset_ns // BUCKET_NS, -(-last_seen_ns(switch) // BUCKET_NS)):
            edges.append(min(end, max(edges[-1], edge)))
    return [*edges, end]


def _phase(run: RunData, urls: Sequence[str], first: int, end: int) -> Phase:
    t_start_ns, t_end_ns = min(first * BUCKET_NS, run.end_ns), min(end * BUCKET_NS, run.end_ns)
    seconds = (t_end_ns - t_start_ns) / NS_PER_S
    shares = {}
    for index, url in enumerate(urls):
        sums = map(int, run.tally.buckets[index, first:end].sum(axis=0))
        found = dict(zip(BUCKET_FIELDS, sums, strict=True))
        shares[url] = ServerShare(
            decided=found["decided"],
            violations=found["violations"],
            ok=found["ok"],
            rate=found["decided"] / seconds if seconds else 0.0,
            ok_rate=found["ok"] / seconds if seconds else 0.0,
        )
    return Phase(t_start_ns=t_start_ns, t_end_ns=t_end_ns, servers=shares)


def _slot(run: RunData, epoch: int, field: str) -> int | None:
    """A slot handed under ``epoch``, or None; the epochs that share a row are not told apart."""
    if not 0 <= epoch < EPOCH_LIMIT - 1:
        return None
    slot = int(run.tally.epochs[epoch, EPOCH_FIELDS.index(field)])
    return None if slot < 0 else slot


def _command_ns(run: RunData, after_ns: int, until_ns: int) -> int | None:
    """The last command started in (after, until]."""
    times_ns = [event["t_ns"] for event in run.events if event["event"] == "command"]
    return max((t_ns for t_ns in times_ns if after_ns < t_ns <= until_ns), default=None)


def _outage(switch: measured.Switch, outages: Sequence[Outage]) -> int | None:
    """The longest that touches the time from the decision to the last worker's knowing."""
    touching = [
        index
        for index, outage in enumerate(outages)
        if outage.t_start_ns <= last_seen_ns(switch) and outage.t_end_ns >= switch.t_decide_ns
    ]
    return max(touching, key=lambda index: outages[index].duration_ns, default=None)
