"""``events.jsonl``: what happened during a run, an event a line, in order."""

import json
from collections.abc import Sequence
from typing import IO, Any

from harness.results.redaction import Redactor
from harness.results.rundata import RunData
from harness.untrusted import clean_text

NAME = "events.jsonl"

URL_KEYS = {"server": "url", "source": "from", "target": "to"}
"""Where an event has a server's index: the key its URL is written under, beside it."""


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
