"""The examination for people: plain, at most 80 columns."""

import textwrap
from collections.abc import Iterator, Sequence

from harness.doctor.facts import Facts
from harness.doctor.judgement import Row
from harness.results.lines import WIDTH, wrapped
from harness.untrusted import clean_text

NAME_CHARS = 15
LABEL_CHARS = NAME_CHARS + 6


def doctor_text(facts: Facts, rows: Sequence[Row]) -> str:
    """What a person should know of this host."""
    return "\n".join([*_header(facts), *_rows(rows), _closing(rows)]) + "\n"


def _header(facts: Facts) -> Iterator[str]:
    host = facts.host
    parts = [
        "harness doctor",
        clean_text(str(host.get("cpu_model") or "CPU of unknown model"), 40),
        f"kernel {clean_text(str(host.get('kernel') or 'unknown'), 40)}",
    ]
    yield from textwrap.wrap("  ".join(parts), WIDTH, subsequent_indent="  ")


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield from wrapped(f"{row.name:<{NAME_CHARS}}{row.verdict}", row.value, LABEL_CHARS)
        if row.advice is not None:
            yield from wrapped("", f"-> {row.advice}", LABEL_CHARS)


def _closing(rows: Sequence[Row]) -> str:
    marked = [row.name for row in rows if row.verdict == "look"]
    return f"look at {len(marked)} of {len(rows)}" if marked else f"all {len(rows)} ok"
