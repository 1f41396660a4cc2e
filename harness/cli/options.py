"""What commands share about options: their sections of --help, reading them, the configuration."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from harness.config import BenchConfig
    from harness.errors import UsageError

# Sections of --help.
LOAD, SLO, REQUEST, CLIENT, RESULTS = "Load", "SLO", "Request", "Client", "Results"
SWITCHING = "Switching"

OPTION_OF = {
    "urls": "-u",
    "metrics_urls": "--metrics-url",
    "cost_usd_per_h": "--cost",
    "batch": "-b",
    "duration_ns": "--duration",
    "warmup_ns": "--warmup",
    "request_timeout_ns": "--timeout",
    "request_drain_timeout_ns": "--drain-timeout",
    "max_lag_ns": "--max-lag",
    "given_window_ns": "--window",
    "stall_tolerance_ns": "--stall-tolerance",
    "dwell_ns": "--dwell",
    "cool_down_ns": "--cool-down",
}
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
"""Pydantic's error types for a value out of its range: the bound's name, and how it is said."""

ValueT = TypeVar("ValueT")


def option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """A typer option with its section of --help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar)


def usage(text: str) -> "UsageError":
    """A usage error, for commands that import nothing of the library before they need it."""
    from harness.errors import UsageError

    return UsageError(text)


def read(name: str, parse: Callable[[str], ValueT], text: str | None) -> ValueT | None:
    """The option's value, None if it was not given. Raises UsageError naming the option."""
    from harness.errors import UsageError

    if text is None:
        return None
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def given_names(context: typer.Context) -> frozenset[str]:
    """The parameters that stand on the command line, in typer's names."""
    return frozenset(
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    )


def given_only(**options: Any) -> dict[str, Any]:
    """Without those that were not given."""
    return {name: value for name, value in options.items() if value is not None}


def make_config(options: Mapping[str, Any]) -> "BenchConfig":
    """The configuration of these options. Raises UsageError naming the option and its value."""
    from pydantic import ValidationError

    from harness.config import BenchConfig
    from harness.errors import UsageError

    try:
        return BenchConfig.model_validate(options)
    except ValidationError as error:
        raise UsageError(_line(error.errors()[0], options)) from None


def _line(error: Any, options: Mapping[str, Any]) -> str:
    """One line from the first thing pydantic found."""
    text = str(error["msg"]).removeprefix("Value error, ")
    value: Any = options
    names = [""]
    for step in error["loc"]:
        value = value.get(step) if isinstance(value, Mapping) else None
        names.append(str(step))
    name = names[-1]
    if not name or isinstance(value, Mapping):
        return text  # of a group as a whole: it names its options itself
    if error["type"] in BOUNDS:
        key, words = BOUNDS[error["type"]]
        text = f"must be {words} {_spelled(name, error['ctx'][key])}"
    option = OPTION_OF.get(name, "--" + name.replace("_", "-"))
    return f"{option} {_spelled(name, value)}: {text}"


def _spelled(name: str, value: Any) -> str:
    from harness.units import format_duration_ns

    if name.endswith("_ns") and isinstance(value, int):
        return format_duration_ns(value)
    if name == "keep_warm":
        return f"{value:g}/s"
    return f"{value:g}" if isinstance(value, float) else str(value)
