"""``events.jsonl``: what happened during a run, an event a line, in order."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pydantic_core

from harness.errors import UsageError
from harness.results.bounds import MOST
from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text

NAME = "events.jsonl"

URL_KEYS = {"server": "url", "source": "from", "target": "to"}
"""Where an event has a server's index: the key its URL is written under, beside it."""

MAX_LINE_BYTES = 1 << 20
MAX_EVENTS = 1 << 20


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


def load_events(directory: Path) -> list[dict[str, Any]]:
    """The events of a results directory; each has a ``t_ns`` and an ``event``.

    Raises UsageError in one line.
    """
    shown = f"{NAME} in '{clean_text(str(directory))}'"
    events: list[dict[str, Any]] = []
    try:
        with (directory / NAME).open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                if len(events) == MAX_EVENTS:
                    raise ValueError(f"over {MAX_EVENTS} events")
                event = pydantic_core.from_json(line, allow_inf_nan=False)
                if not (line.endswith(b"\n") and _is_event(event)):
                    raise ValueError(f"line {len(events) + 1} is no event")
                events.append(event)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{shown} is damaged: {clean_text(str(error))}") from None
    return events


def _is_event(event: Any) -> bool:
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    t_ns = event.get("t_ns")
    return isinstance(t_ns, int) and not isinstance(t_ns, bool) and abs(t_ns) <= MOST
