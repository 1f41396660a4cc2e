"""``harness compare``: its options, and nothing it does."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.compare.comparison import Comparison

EXIT_WORSE = 98
TOLERANCE = "5%"

Tolerance = Annotated[
    str, typer.Option("--tolerance", help="A difference this small does not matter.")
]
Primary = Annotated[
    str | None, typer.Option("--primary", help="Metrics that get a verdict; p99,in_slo.")
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with charts.", metavar="FILE")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
Fail = Annotated[
    str | None, typer.Option("--fail-on", help="worse: exit 98 if a verdict is 'worse'.")
]


def compare(
    directories: Annotated[
        list[Path],
        typer.Argument(help="Results directories, or folders of such.", metavar="DIR..."),
    ],
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Group to compare with; the first.")
    ] = None,
    tolerance: Tolerance = TOLERANCE,
    primary: Primary = None,
    html: Html = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
    fail_on: Fail = None,
) -> int:
    """Compare runs: by label, or by the device found; verdicts from 5 runs a side on."""
    from harness.compare.comparison import compare as compare_groups
    from harness.compare.groups import load_groups

    asked = checked(tolerance, primary, html, as_json, as_markdown, fail_on)
    groups = load_groups(directories, baseline)
    return asked.show(compare_groups(groups, asked.tolerance, asked.primary))


@dataclass(frozen=True)
class Asked:
    """What a comparison is to say, and where. ``tolerance``: a share."""

    tolerance: float
    primary: tuple[str, ...]
    html: Path | None
    as_json: bool
    as_markdown: bool
    fail_on: str | None

    def show(self, comparison: "Comparison") -> int:
        """On stdout, then as a page; the exit code. Raises ResultsError: the page."""
        from harness.cli.run import print_out
        from harness.compare.comparison import Verdict
        from harness.compare.text import comparison_json, comparison_markdown, comparison_text

        write = comparison_text
        if self.as_json or self.as_markdown:
            write = comparison_json if self.as_json else comparison_markdown
        print_out(write(comparison))
        if self.html is not None:
            from harness.report.comparison_page import write_comparison_page

            write_comparison_page(comparison, self.html)
        return EXIT_WORSE if self.fail_on and Verdict.WORSE in comparison.verdicts else 0


def checked(
    tolerance: str,
    primary: str | None,
    html: Path | None,
    as_json: bool,
    as_markdown: bool,
    fail_on: str | None,
) -> Asked:
    """The options read. Raises UsageError naming the one that cannot be."""
    from harness.cli.options import read, usage
    from harness.compare.metrics import BY_NAME, PRIMARY
    from harness.units import parse_share
    from harness.untrusted import clean_text

    share = read("--tolerance", parse_share, tolerance)
    assert share is not None
    names = PRIMARY if primary is None else tuple(one.strip() for one in primary.split(","))
    for name in names:
        if name not in BY_NAME or BY_NAME[name].better is None:
            known = ", ".join(one for one in BY_NAME if BY_NAME[one].better)
            raise usage(f"--primary '{clean_text(name, 20)}': the metrics are {known}")
    if as_json and as_markdown:
        raise usage("--json and --markdown: give one of them")
    if fail_on not in (None, "worse"):
        raise usage(f"--fail-on '{clean_text(str(fail_on), 20)}': the only one is worse")
    return Asked(share, names, html, as_json, as_markdown, fail_on)
