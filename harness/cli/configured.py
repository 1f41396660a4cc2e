"""The configuration that the options of ``bench`` and ``ab`` ask for."""

from typing import TYPE_CHECKING, Any

import typer

from harness.cli import switching
from harness.cli.again import config_again
from harness.cli.options import given_names, given_only, make_config, read, usage

if TYPE_CHECKING:
    from harness.config import BenchConfig

DEFAULT_MODEL = "identity"


def configured(context: typer.Context) -> "BenchConfig":
    """Of a command with bench's parameters; one that it leaves out has its default.

    Raises UsageError naming the option.
    """
    given = context.params
    again = given.get("again")
    if again is None and given["model"] is None and given["url"]:
        raise usage("no model given; write -m MODEL")
    fields = _fields(given)
    return (
        make_config(fields) if again is None else config_again(again, fields, given_names(context))
    )


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    from harness.control.headers import parse_header
    from harness.devices.metrics_url import parse_metrics_url
    from harness.slo import parse_slo
    from harness.units import (
        parse_cpus,
        parse_duration_ns,
        parse_label,
        parse_shape,
        parse_share,
    )

    for text in given["metrics_url"] or ():
        parse_metrics_url(text)
    limit = read("--violation-limit", parse_share, given["violation_limit"])
    if given["slo"] is None and (limit is not None or given["fail_on_violation"]):
        raise usage("--violation-limit and --fail-on-violation need an --slo, such as --slo 50ms")
    return {
        "model": DEFAULT_MODEL if given["model"] is None else given["model"],
        "urls": tuple(given["url"] or ()),
        "metrics_urls": tuple(text.strip() for text in given["metrics_url"] or ()),
        "cost_usd_per_h": given.get("cost"),
        **given_only(**{name: given[name] for name in ("dist", "rate", "concurrency")}),
        "duration_ns": read("--duration", parse_duration_ns, given["duration"]),
        "warmup_ns": read("--warmup", parse_duration_ns, given["warmup"]),
        "slo": read("--slo", lambda text: parse_slo(text, limit), given["slo"]),
        "request_timeout_ns": read("--timeout", parse_duration_ns, given["timeout"]),
        "request_drain_timeout_ns": read(
            "--drain-timeout", parse_duration_ns, given["drain_timeout"]
        ),
        "switching": switching.given(**{name: given.get(name) for name in SWITCHING}),
        "at": switching.commands(given["at"] or ()),
        "batch": given["batch"],
        "shapes": dict(parse_shape(text) for text in given["shape"] or ()),
        "headers": tuple(parse_header(text) for text in given["header"] or ()),
        "cpus": read("--cpus", parse_cpus, given["cpus"]),
        "max_lag_ns": read("--max-lag", parse_duration_ns, given["max_lag"]),
        "labels": dict(parse_label(text) for text in given["label"] or ()),
        **{name: given[name] for name in SAME},
    }


SWITCHING = (
    *("policy", "eject", "rule", "window", "stall_tolerance", "dwell", "cool_down", "on_all_bad"),
    *("require", "keep_warm"),
)
SAME = (
    *("model_version", "transport", "seed", "on_timeout", "input_data", "workers", "spin"),
    *("connections", "max_inflight", "percentile", "records", "out", "force", "allow_invalid"),
    *("fail_on_violation", "report"),
)
"""Options whose value is the field's."""
