"""Events of a run as lines for people, as they happen."""

from collections.abc import Sequence
from typing import Any

from harness.config import NS_PER_S
from harness.detector.rules import STALLED
from harness.units import server_letter
from harness.untrusted import clean_text


def event_text(event: dict[str, Any], urls: Sequence[str]) -> str | None:
    """One line, or None for an event that is only kept in events.jsonl."""
    kind = event["event"]
    at = f"+{event['t_ns'] / NS_PER_S:.3f} s"

    def name(server: int) -> str:
        return f"{server_letter(server)} {clean_text(urls[server], 24)}"

    def evidence() -> str:
        if event["rule"] == STALLED:
            return f"stalled, {event['n']} in flight"
        return f"{clean_text(event['rule'], 20)}, {event['x']} of {event['n']}"

    if kind == "switch":
        source = server_letter(event["source"])
        return f"{at}  switch {source} -> {name(event['target'])}: {evidence()}"
    if kind == "eject":
        return f"{at}  {name(event['server'])} left out: {evidence()}"
    if kind == "readmit":
        return f"{at}  {name(event['server'])} used again"
    if kind == "all_bad":
        return f"{at}  {name(event['server'])} fails: {evidence()}; no other to go to"
    if kind == "flapping":
        return f"{at}  {name(event['server'])} fails: {evidence()}; flapping, staying"
    if kind == "failing":
        return f"{at}  {name(event['server'])} fails: {evidence()}; staying"
    if kind == "stopped":
        return f"{at}  stopping, as all servers are bad"
    if kind == "coordinator_late":
        return f"{at}  the coordinator stood still for {event['gap_ns'] / NS_PER_S:.3f} s"
    if kind in ("worker_silent", "worker_back", "worker_died", "worker_hung"):
        return f"{at}  worker {event['worker']} {kind.removeprefix('worker_')}"
    if kind == "command":
        return f"{at}  command: {clean_text(event['command'], 60)}"
    if kind == "command_ended" and event["exit_code"] != 0:
        how = (
            clean_text(event["error"], 60)
            if event["exit_code"] is None
            else f"exit code {event['exit_code']}"
        )
        return f"{at}  command failed, {how}: {clean_text(event['command'], 60)}"
    if kind == "command_running":
        return f"{at}  command still runs, left alone: {clean_text(event['command'], 60)}"
    return None
