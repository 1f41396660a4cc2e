"""Events that are marked in charts over time, with their text."""

from collections.abc import Callable

from harness.units import server_letter


def _between(event: dict[str, object]) -> str:
    return f"{_place(event.get('source'))} → {_place(event.get('target'))}"


def _place(server: object) -> str:
    known = isinstance(server, int) and 0 <= server < 10_000
    return server_letter(server) if known else "?"  # type: ignore[arg-type]


MOMENTS: dict[str, Callable[[dict[str, object]], str]] = {
    "switch": _between,
    "eject": lambda event: f"{_place(event.get('server'))} out",
    "readmit": lambda event: f"{_place(event.get('server'))} back",
    "command": lambda event: "--at",
    "stopped": lambda event: "stopped",
    "cut": lambda event: "cut",
    "worker_died": lambda event: "worker died",
    "worker_hung": lambda event: "worker hung",
}
"""Events that are marked, with their text."""
