"""What was found about switching: where the load went, and where it could not leave."""

from collections.abc import Iterator
from typing import Any

from harness.config import NS_PER_S
from harness.detector.rules import STALLED
from harness.results.rundata import RunData
from harness.results.server_findings import Finding
from harness.untrusted import clean_text

Event = dict[str, Any]


def switch_findings(run: RunData) -> list[Finding]:
    """In the order they are printed in."""
    return [
        *_missing(run),
        *_switched(run),
        *_flapping(run),
        *_all_bad(run),
        *_failing(run),
        *_ejected(run),
        *_all_out(run),
        *_blind(run),
        *_coordinator_late(run),
    ]


def _missing(run: RunData) -> Iterator[Finding]:
    for index, server in enumerate(run.servers):
        if reason := server.get("missing"):
            yield Finding(
                code="missing",
                text=f"{_url(run, index)} was missing at the start: {clean_text(str(reason))}",
            )


def _switched(run: RunData) -> Iterator[Finding]:
    if run.switches:
        count, last = len(run.switches), run.switches[-1]
        yield Finding(
            code="switched",
            text=f"switched {_times(count)}, {'the last time ' * (count > 1)}to"
            f" {_url(run, last.target)} at {last.t_decide_ns / NS_PER_S:.3f} s",
        )


def _flapping(run: RunData) -> Iterator[Finding]:
    if events := _events(run, "flapping"):
        yield Finding(
            code="flapping",
            text=f"flapping: {_named(run, events[0])} failed at {_moment(events[0])}, but the load"
            f" had moved too often and stayed{_more(events)}",
        )


def _all_bad(run: RunData) -> Iterator[Finding]:
    events, stopped = _events(run, "all_bad"), _events(run, "stopped")
    if not events and not stopped:
        return
    text = "all bad: no server was fit to take the load"
    if events:
        text = (
            f"all bad: {_named(run, events[0])} failed at {_moment(events[0])}, and no other server"
            f" was fit to take its load{_more(events)}"
        )
    if stopped:
        text += f"; stopped at {_moment(stopped[0])} (--on-all-bad stop)"
    yield Finding(code="all_bad", text=text)


def _failing(run: RunData) -> Iterator[Finding]:
    for events in _by_server(run, "failing"):
        yield Finding(
            code="failing",
            text=f"{_named(run, events[0])} failed at {_moment(events[0])}"
            f" ({_evidence(events[0])}); the load was not moved{_more(events)}",
        )


def _ejected(run: RunData) -> Iterator[Finding]:
    for events in _by_server(run, "eject"):
        yield Finding(
            code="ejected",
            text=f"{_named(run, events[0])} was left out at {_moment(events[0])}"
            f" ({_evidence(events[0])}){_more(events)}",
        )


def _all_out(run: RunData) -> Iterator[Finding]:
    if run.config.switching.policy == "failover":
        return
    out = {index for index, server in enumerate(run.servers) if server.get("missing")}
    events = []
    for event in run.events:
        if event["event"] == "eject":
            out.add(event["server"])
        elif event["event"] == "readmit":
            out.discard(event["server"])
        elif event["event"] == "all_bad" and len(out | {event["server"]}) == len(run.servers):
            out.add(event["server"])
            events.append(event)
    if events:
        yield Finding(
            code="all_out",
            text=f"all servers were left out at {_moment(events[0])}, so all were used"
            f"{_more(events)}",
        )


def _blind(run: RunData) -> Iterator[Finding]:
    if run.blind_ns:
        yield Finding(
            code="blind",
            text=f"the detector was blind for {run.blind_ns / NS_PER_S:.3f} s of"
            f" {run.end_ns / NS_PER_S:.3f} s: the client was late, which says nothing of a server",
        )


def _coordinator_late(run: RunData) -> Iterator[Finding]:
    if events := _events(run, "coordinator_late"):
        longest_s = max(event["gap_ns"] for event in events) / NS_PER_S
        yield Finding(
            code="coordinator_late",
            text=f"the coordinator stood still for up to {longest_s:.3f} s, the first time until"
            f" {_moment(events[0])}: what it saw and decided then is late{_more(events)}",
        )


def _events(run: RunData, kind: str) -> list[Event]:
    return [event for event in run.events if event["event"] == kind]


def _by_server(run: RunData, kind: str) -> list[list[Event]]:
    """Events of a kind, in order of their server."""
    events = _events(run, kind)
    servers = sorted({int(event["server"]) for event in events})
    return [[event for event in events if event["server"] == server] for server in servers]


def _evidence(event: Event) -> str:
    if event["rule"] == STALLED:
        return f"nothing answered, {event['n']} in flight"
    return f"{event['rule']}, {event['x']} of {event['n']} violated"


def _moment(event: Event) -> str:
    return f"{event['t_ns'] / NS_PER_S:.3f} s"


def _more(events: list[Event]) -> str:
    return "" if len(events) == 1 else f", {_times(len(events))} in all"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _named(run: RunData, event: Event) -> str:
    return _url(run, int(event["server"]))


def _url(run: RunData, server: int) -> str:
    return clean_text(str(run.servers[server]["url"]))
