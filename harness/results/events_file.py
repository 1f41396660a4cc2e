"""``events.jsonl``: what happened during a run, an event a line, in order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from harness.errors import UsageError
from harness.results.bounds import LONGEST_NS, MOST
from harness.results.reading import open_stored, read_json
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text

NAME = "events.jsonl"

URL_KEYS = {"server": "url", "source": "from", "target": "to"}
"""Where an event has a server's index: the key its URL is written under, beside it."""

MAX_LINE_BYTES = 1 << 20
MAX_EVENTS = 1 << 18
MAX_FILE_BYTES = 64 << 20
MAX_FIELDS = 64
MAX_ITEMS = 4096
"""Of a list in an event: one for each worker or server."""

EVIDENCE = ("server", "rule", "n", "x", "bound")
NEEDED = {
    "switch": (
        *("source", "target", "from", "to", "epoch", "rule", "n", "x", "bound"),
        *("t_detect_ns", "t_decide_ns", "t_seen_ns", "in_flight"),
    ),
    **dict.fromkeys(("eject", "failing", "flapping", "all_bad"), EVIDENCE),
    **dict.fromkeys(("readmit", "connection_lost", "connection_back"), ("server",)),
    **dict.fromkeys(("worker_silent", "worker_back", "worker_died", "worker_hung"), ("worker",)),
    **dict.fromkeys(("command", "command_running"), ("command",)),
    "command_ended": ("command", "exit_code"),
    "coordinator_late": ("gap_ns",),
}
"""The fields without which an event of that kind cannot be told."""

NULLABLE = ("exit_code", "t_onset_ns")
INDICES = ("server", "source", "target")
COUNTS = ("n", "x", "epoch", "worker")
TEXTS = ("rule", "command", "error", "from", "to", "url")
LISTS = ("t_seen_ns", "in_flight", "in_use")
NULLABLE_ITEMS = ("t_seen_ns",)


def write_events(out: IO[bytes], run: RunData) -> None:
    """One JSON object a line, without secrets. Raises OSError."""
    redactor = Redactor(run.config)
    urls = [clean_text(redactor.text(str(server["url"]))) for server in run.servers]
    for event in run.events:
        line = json.dumps(
            {**redactor.clean(event), **_named(event, urls)}, allow_nan=False, ensure_ascii=False
        )
        out.write(line.encode() + b"\n")


def _named(event: dict[str, Any], urls: Sequence[str]) -> dict[str, str]:
    return {key: urls[event[index]] for index, key in URL_KEYS.items() if index in event}


def load_events(directory: Path, servers: int) -> list[dict[str, Any]]:
    """The events of a results directory; each has a ``t_ns``, an ``event`` and what belongs to it.

    Raises UsageError in one line.
    """
    shown = f"{NAME} in '{clean_text(str(directory))}'"
    events: list[dict[str, Any]] = []
    try:
        with open_stored(directory / NAME) as file:
            if file.seek(0, 2) > MAX_FILE_BYTES:
                raise ValueError(f"over {MAX_FILE_BYTES} bytes")
            file.seek(0)
            while line := file.readline(MAX_LINE_BYTES):
                if len(events) == MAX_EVENTS:
                    raise ValueError(f"over {MAX_EVENTS} events")
                events.append(_event(line, len(events) + 1, servers))
    except OSError as error:
        raise UsageError(
            f"cannot read {shown}: {error.strerror}; remove it to go on without"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"{shown} is damaged: {clean_text(str(error), 100)}; remove it to go on without"
        ) from None
    return events


def _event(line: bytes, number: int, servers: int) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise ValueError(f"line {number} is cut short, or too long")
    event = read_json(line)
    if not (isinstance(event, dict) and isinstance(event.get("event"), str)):
        raise ValueError(f"line {number} is no event")
    if len(event) > MAX_FIELDS or not _is_time(event.get("t_ns")):
        raise ValueError(f"line {number}: an event without a time, or of too many fields")
    for name in NEEDED.get(event["event"], ()):
        if event.get(name) is None and not (name in NULLABLE and name in event):
            raise ValueError(f"line {number}: a {event['event']} without its {name}")
    if event["event"] == "command_ended" and event["exit_code"] is None and "error" not in event:
        raise ValueError(f"line {number}: a command_ended without its error")
    for name, value in event.items():
        if not _fits(name, value, servers):
            raise ValueError(f"line {number}: {name} is out of its range")
    return event


def _fits(name: str, value: Any, servers: int) -> bool:
    """Whether a field is what its name says; one of a later version, whether it is plain."""
    if name in LISTS:
        of = _is_time if name.endswith("_ns") else _is_count
        return (
            isinstance(value, list)
            and len(value) <= MAX_ITEMS
            and all(of(item) or (item is None and name in NULLABLE_ITEMS) for item in value)
        )
    if name in INDICES:
        return _is_count(value) and value < servers
    if name in COUNTS:
        return _is_count(value)
    if name in TEXTS:
        return isinstance(value, str)
    if name == "bound":
        return isinstance(value, int | float) and 0 <= value <= MOST
    if name.endswith("_ns"):
        return value is None or _is_time(value)
    if isinstance(value, list):
        return len(value) <= MAX_ITEMS and all(map(_is_plain, value))
    return _is_plain(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LONGEST_NS


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
