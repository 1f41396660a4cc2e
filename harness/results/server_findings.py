"""What the servers did with the load, and what else a reader of the figures should know."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from harness._tally import Tally
from harness.config import NS_PER_MS, BenchConfig
from harness.control.keep_warm import KeptWarm
from harness.control.server_stats import Snapshot, delta
from harness.grpc_codes import GRPC_CODES
from harness.load.limits import MAX_RECORDED_SLOTS
from harness.records import Reason
from harness.results.rundata import RunData
from harness.results.totals import Totals, totals
from harness.untrusted import clean_text

STATUS_COLUMNS = ("NO_STATUS", *GRPC_CODES[1:], "OTHER")
"""Names of the columns of ``Tally.statuses``."""


class Finding(BaseModel):
    """Something the servers did, or that a reader of the figures should know."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str


def server_findings(run: RunData, found: Totals) -> list[Finding]:
    """In the order they are printed in. ``found``: the totals of the run."""
    return [
        *_slo(run.config, found),
        *_backpressure(run, found),
        *_executed(run),
        *_errors(run),
        *_records(run),
    ]


def slo_held(config: BenchConfig, found: Totals) -> bool | None:
    """Whether violations are within the limit; None without an SLO, or if nothing was decided."""
    if config.slo is None or found.violation_share is None:
        return None
    return found.violation_share <= config.slo.limit


def _slo(config: BenchConfig, found: Totals) -> Iterator[Finding]:
    if config.slo is not None and slo_held(config, found) is False:
        yield Finding(
            code="slo_broken",
            text=f"SLO broken: {found.violations} of {found.decided} decided slots violated"
            f" {config.slo.threshold_ns / NS_PER_MS:g} ms, {100 * config.slo.limit:.4g} % may",
        )


def _backpressure(run: RunData, found: Totals) -> Iterator[Finding]:
    dropped = found.dropped_backpressure
    if dropped and run.spec.closed:
        yield Finding(
            code="backpressure",
            text=f"fewer than {run.inflight_cap} in flight: {dropped} slots dropped after waiting"
            " for a connection or stream",
        )
    elif dropped:
        yield Finding(
            code="backpressure",
            text=f"rate not reached: {dropped} slots dropped after waiting at"
            f" the cap of {run.inflight_cap} requests in flight a server",
        )


def _executed(run: RunData) -> Iterator[Finding]:
    for index, server in enumerate(run.servers):
        before, after = run.stats_before[index], run.stats_after[index]
        if before is None or after is None:
            continue
        handed = totals(run.tally, index).sent
        warm = run.kept_warm[index] if run.kept_warm else KeptWarm(0, 0)
        executed = executed_requests(before, after)
        # The server executes what keeps it warm too, with or without an answer in time for us.
        if executed is not None and not handed + warm.ok <= executed <= handed + warm.sent:
            beside = f" and {warm.sent} to keep it warm" if warm.sent else ""
            yield Finding(
                code="executed_differs",
                text=f"{clean_text(server['url'])}: {handed} requests handed{beside},"
                f" {executed} executed by its own statistics",
            )


def executed_requests(before: Snapshot, after: Snapshot) -> int | None:
    """Requests the server says it executed in between, failed ones too; None if not known."""
    done = delta(before, after).delta
    return None if done is None else done.executed + done.failed


def error_codes(tally: Tally, server: int) -> dict[str, int]:
    """Error outcomes of a server (or, for the last row, of none) by gRPC status, none left out."""
    counts = tally.statuses[server]
    return {name: int(count) for name, count in zip(STATUS_COLUMNS, counts, strict=True) if count}


def failure_reasons(tally: Tally, server: int) -> dict[str, int]:
    """Slots of a server by why they are not OK, none left out."""
    counts = tally.reasons[server]
    return {
        reason.name.lower(): int(counts[reason])
        for reason in Reason
        if reason is not Reason.NONE and counts[reason]
    }


def _errors(run: RunData) -> Iterator[Finding]:
    for index, server in enumerate(run.servers):
        if codes := error_codes(run.tally, index):
            shown = ", ".join(f"{count} {name}" for name, count in codes.items())
            why = ", ".join(
                f"{count} {name.replace('_', ' ')}"
                for name, count in failure_reasons(run.tally, index).items()
                if name not in ("grpc_status", "backpressure", "client")
            )
            yield Finding(
                code="errors",
                text=f"{clean_text(server['url'])}: errors: {shown}" + (why and f" ({why})"),
            )


def _records(run: RunData) -> Iterator[Finding]:
    if run.config.records == "none" or run.tally.rows is not None:
        return
    slots = max(run.plan.slots, run.tally.slots_end)
    why = "there was no more room for it"
    if run.config.records == "auto" and slots > MAX_RECORDED_SLOTS:
        why = f"{slots} slots are more than {MAX_RECORDED_SLOTS} (--records all keeps it)"
    yield Finding(code="no_records", text=f"requests.npy not kept: {why}")
