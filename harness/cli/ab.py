"""``harness ab``: the options of ``bench``, and what is compared."""

import inspect
import sys
from typing import Annotated, Any

import typer

from harness.cli import bench as bench_command
from harness.cli.compare import TOLERANCE, Fail, Html, Json, Markdown, Primary, Tolerance
from harness.cli.options import LOAD, option

NOT_HERE = frozenset(
    {
        *("policy", "eject", "rule", "window", "stall_tolerance", "dwell", "cool_down"),
        *("on_all_bad", "require", "keep_warm", "again", "as_json", "cost"),
    }
)
"""Of bench's parameters: what moves the load between servers, another run's configuration, and what
is said otherwise here."""

OWN = {
    "alternate": (
        Annotated[
            bool,
            option(
                "--alternate",
                help="Deal 5 s in turn, where both share one device, instead of both at once.",
                panel=LOAD,
            ),
        ],
        False,
    ),
    "tolerance": (Tolerance, TOLERANCE),
    "primary": (Primary, None),
    "html": (Html, None),
    "as_json": (Json, False),
    "as_markdown": (Markdown, False),
    "fail_on": (Fail, None),
}


def ab(context: typer.Context, **options: Any) -> int:
    """Send one plan to two servers at once and compare them, slot beside slot."""
    from harness.ab import run_ab
    from harness.cli.compare import checked
    from harness.cli.configured import configured
    from harness.cli.run import print_to
    from harness.live.display import make_display
    from harness.repeats import Repeats

    asked = checked(**{name: options[name] for name in OWN if name != "alternate"})
    times = bench_command.checked_repeats(options["repeat"], options["between"])
    config = configured(context)
    quiet = options["quiet"]
    with make_display(sys.stderr, quiet) as display:
        result = run_ab(
            config,
            alternate=options["alternate"],
            repeats=Repeats(config, times, options["between"]),
            tolerance=asked.tolerance,
            primary=asked.primary,
            on_progress=display,
            on_note=display.note,
            argv=sys.argv,
        )
    if not (quiet and asked.as_json):
        for one in (run for both in result.results for run in both):
            print_to(sys.stderr if asked.as_json else sys.stdout, one.text + "\n")
    code = asked.show(result.comparison)
    return result.exit_code or code


def _signature() -> inspect.Signature:
    """bench's parameters but NOT_HERE, and ours."""
    theirs = inspect.signature(bench_command.bench).parameters
    kept = [one for name, one in theirs.items() if name not in NOT_HERE]
    ours = [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
        )
        for name, (annotation, default) in OWN.items()
    ]
    return inspect.Signature([*kept, *ours], return_annotation=int)


# What typer reads, since options are the same in both commands.
ab.__signature__ = _signature()  # type: ignore[attr-defined]
ab.__annotations__ = {
    name: one.annotation
    for name, one in ab.__signature__.parameters.items()  # type: ignore[attr-defined]
}
