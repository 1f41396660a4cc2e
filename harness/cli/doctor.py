"""``harness doctor``: what this host does to a load generator, and what to do about it."""

from typing import Annotated

import typer


def doctor(
    url: Annotated[
        list[str] | None,
        typer.Option("-u", metavar="HOST:PORT", help="Measure the path to this server."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print facts and rows as JSON.")] = False,
) -> int:
    """Examine this host in half a minute: clock, CPUs, sleeps, gaps, the highest rate it holds."""
    import json
    import sys

    from harness.cli.options import usage
    from harness.cli.run import print_out
    from harness.doctor.examination import examine
    from harness.doctor.judgement import judge
    from harness.doctor.text import doctor_text
    from harness.errors import NotStartedError
    from harness.live.display import make_display

    if url and len(url) > 1:
        raise usage(f"-u is given {len(url)} times; the doctor measures the path to one server")
    display = make_display(sys.stderr)
    try:
        facts = examine(url[0] if url else None, display.note)
    except (OSError, MemoryError) as error:
        raise NotStartedError(f"no resources to examine this host: {error or 'memory'}") from None
    rows = judge(facts)
    if as_json:
        parts = {"facts": facts.to_dict(), "rows": [vars(row) for row in rows]}
        print_out(json.dumps(parts, indent=1, allow_nan=False) + "\n")
    else:
        print_out(doctor_text(facts, rows))
    return 0
