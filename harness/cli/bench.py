"""``harness bench``: its options, and nothing it does."""

import sys
from typing import Annotated

import typer

from harness.cli import switching
from harness.cli.options import CLIENT, LOAD, REQUEST, RESULTS, SLO, option, usage

MAX_REPEATS = 1000


def bench(
    context: typer.Context,
    model: Annotated[str | None, option("-m", "--model", help="Model name.", panel=REQUEST)] = None,
    url: Annotated[
        list[str] | None,
        option(
            "-u",
            "--url",
            help="Server, repeatable: the first is active, the others stand by. Without it two"
            " embedded servers are started for the run.",
            panel=REQUEST,
            metavar="HOST:PORT",
        ),
    ] = None,
    metrics_url: Annotated[
        list[str] | None,
        option(
            "--metrics-url",
            help="A server's Prometheus page, repeatable, one per -u in their order; or none. By"
            " default http://HOST:PORT+1/metrics.",
            panel=REQUEST,
            metavar="URL",
        ),
    ] = None,
    model_version: Annotated[
        str, option("-x", "--model-version", help="Model version.", panel=REQUEST)
    ] = "",
    dist: Annotated[
        str | None,
        option("--dist", help="Arrivals: constant (default) or poisson.", panel=LOAD),
    ] = None,
    rate: Annotated[
        float | None, option("--rate", help="Requests per second; 100.", panel=LOAD)
    ] = None,
    concurrency: Annotated[
        int | None,
        option(
            "--concurrency",
            help="Instead of a rate: keep so many requests in flight in all.",
            panel=LOAD,
        ),
    ] = None,
    duration: Annotated[
        str, option("--duration", help="Planned time, such as 30s.", panel=LOAD)
    ] = "30s",
    seed: Annotated[int, option("--seed", help="Of the plan and of random input.", panel=LOAD)] = 1,
    warmup: Annotated[
        str, option("--warmup", help="Load before slot 0, in no result; 0s for none.", panel=LOAD)
    ] = "2s",
    slo: Annotated[
        str | None,
        option("--slo", help="Latency threshold: 50ms, or 'p99<50ms'.", panel=SLO),
    ] = None,
    violation_limit: Annotated[
        str | None,
        option("--violation-limit", help="Share that may violate it; 5% by default.", panel=SLO),
    ] = None,
    fail_on_violation: Annotated[
        bool,
        option("--fail-on-violation", help="Exit 99 when more violate the SLO.", panel=SLO),
    ] = False,
    timeout: Annotated[
        str | None,
        option(
            "--timeout",
            help="Deadline of a request; max(10 T, 10 s), or 60 s without an SLO.",
            panel=REQUEST,
        ),
    ] = None,
    drain_timeout: Annotated[
        str | None,
        option(
            "--drain-timeout",
            help="How long answers are waited for at the end; the deadline.",
            panel=LOAD,
        ),
    ] = None,
    on_timeout: Annotated[
        str,
        option("--on-timeout", help="keep or cancel the stream at its deadline.", panel=REQUEST),
    ] = "keep",
    batch: Annotated[int, option("-b", "--batch-size", help="Batch size.", panel=REQUEST)] = 1,
    shape: Annotated[
        list[str] | None,
        option(
            "--shape",
            help="Shape of an input with dynamic dimensions, repeatable.",
            panel=REQUEST,
            metavar="NAME:d,d",
        ),
    ] = None,
    input_data: Annotated[
        str, option("--input-data", help="random or zero.", panel=REQUEST)
    ] = "random",
    header: Annotated[
        list[str] | None,
        option("-H", help="Request header, repeatable.", panel=REQUEST, metavar="NAME:VALUE"),
    ] = None,
    transport: Annotated[
        str, option("--transport", help="native or tritonclient.", panel=CLIENT)
    ] = "native",
    workers: Annotated[
        int | None, option("--workers", help="Worker processes.", panel=CLIENT)
    ] = None,
    cpus: Annotated[
        str | None, option("--cpus", help="CPUs for the workers: 0,2-3.", panel=CLIENT)
    ] = None,
    spin: Annotated[str, option("--spin", help="auto, always or never.", panel=CLIENT)] = "auto",
    connections: Annotated[
        int, option("--connections", help="Per worker and server.", panel=CLIENT)
    ] = 1,
    max_inflight: Annotated[
        int | None,
        option("--max-inflight", help="Requests in flight per server, in all.", panel=CLIENT),
    ] = None,
    max_lag: Annotated[
        str | None,
        option("--max-lag", help="How late a slot may go out; min(T/2, 100 ms).", panel=CLIENT),
    ] = None,
    percentile: Annotated[
        float | None,
        option("--percentile", help="Ask for this percentile; too few slots: invalid.", panel=SLO),
    ] = None,
    policy: switching.Policy = None,
    eject: switching.Eject = None,
    rule: switching.Rule = None,
    window: switching.Window = None,
    stall_tolerance: switching.StallTolerance = None,
    dwell: switching.Dwell = None,
    cool_down: switching.CoolDown = None,
    on_all_bad: switching.OnAllBad = None,
    require: switching.Require = None,
    keep_warm: switching.KeepWarm = None,
    at: switching.At = None,
    label: Annotated[
        list[str] | None,
        option(
            "--label",
            help="What to compare the run by, repeatable: gpu=H200.",
            panel=RESULTS,
            metavar="KEY=VALUE",
        ),
    ] = None,
    cost: Annotated[
        float | None,
        option(
            "--cost",
            help="Price of all servers together in USD per hour, for the cost per million.",
            panel=RESULTS,
            metavar="USD",
        ),
    ] = None,
    repeat: Annotated[
        int, option("--repeat", help="Run so many times, each into a folder of --out.", panel=LOAD)
    ] = 1,
    between: Annotated[
        str | None,
        option(
            "--between",
            help="Shell command to run between two of them; it ends when servers are up again.",
            panel=LOAD,
            metavar="COMMAND",
        ),
    ] = None,
    again: Annotated[
        str | None,
        option(
            "--from",
            help="Run the same again as in this results directory.",
            panel=LOAD,
            metavar="DIR",
        ),
    ] = None,
    records: Annotated[
        str,
        option("--records", help="all, none, or auto: up to 20 million slots.", panel=RESULTS),
    ] = "auto",
    out: Annotated[
        str | None,
        option("--out", help="Results directory; runs/<time>-<model>.", panel=RESULTS),
    ] = None,
    force: Annotated[
        bool, option("--force", help="Replace the results in --out.", panel=RESULTS)
    ] = False,
    allow_invalid: Annotated[
        bool, option("--allow-invalid", help="Exit 0 for an invalid run.", panel=RESULTS)
    ] = False,
    quiet: Annotated[
        bool, option("--quiet", help="Nothing but errors on stderr.", panel=RESULTS)
    ] = False,
    as_json: Annotated[
        bool,
        option(
            "--json",
            help="summary.json on stdout, the rest on stderr; of --repeat a line each.",
            panel=RESULTS,
        ),
    ] = False,
    report: Annotated[
        bool,
        option("--report/--no-report", help="Write report.html (extra 'report').", panel=RESULTS),
    ] = True,
) -> int:
    """Send a planned load and account for every request."""
    from harness.cli.configured import configured

    config = configured(context)
    times = checked_repeats(repeat, between)
    # After them: it takes a while, which nobody should wait for to be told of a mistake.
    from harness.cli.run import run_bench

    return run_bench(config, sys.argv, times, between, quiet=quiet, as_json=as_json)


def checked_repeats(repeat: int, between: str | None) -> int:
    """How many runs. Raises UsageError."""
    if not 1 <= repeat <= MAX_REPEATS:
        raise usage(f"--repeat {repeat}: not within 1..{MAX_REPEATS}")
    if between is not None and repeat == 1:
        raise usage("--between runs between repeats; add a --repeat, such as --repeat 5")
    return repeat
