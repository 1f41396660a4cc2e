"""What real runs leave is read back, checked, and made something of, whatever became of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.results.stored import StoredRun
from tests.fuzz_results import use
from tests.results.stored_cases import stored
from tests.runs import Run, bench

BASE = ("-m", "identity", "--warmup", "0s", "--spin", "never", "--allow-invalid")
OPEN = (*BASE, "--dist", "poisson", "--rate", "500", "--duration", "1s")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ServeConfig(latency="5ms")) as one:
        yield one


def kill_a_worker(run: Run) -> None:
    run.wait_for_slots(50)
    run.workers()[1].kill()


def interrupt(run: Run) -> None:
    run.wait_for_slots(50)
    run.interrupt()


def read_back(tmp_path: Path, run: Run) -> StoredRun:
    """Report, comparison and export are made of it too."""
    found = use(run.out, stored(tmp_path / "beside"), parquet=True)
    assert found.summary.balanced, run.stderr
    return found


@pytest.mark.parametrize(
    ("arguments", "while_running", "what"),
    [
        ((*OPEN, "--slo", "50ms"), lambda run: None, ""),
        (OPEN, lambda run: None, "no SLO"),
        ((*BASE, "--concurrency", "4", "--duration", "1s", "--slo", "50ms"), lambda run: None, ""),
        ((*OPEN, "--slo", "50ms", "--records", "none"), lambda run: None, "no requests.npy"),
        ((*OPEN, "--duration", "20s", "--slo", "50ms"), interrupt, "cut"),
        ((*BASE, "--concurrency", "4", "--duration", "20s"), interrupt, "cut"),
        ((*OPEN, "--workers", "2", "--timeout", "2s", "--duration", "2s"), kill_a_worker, "lost"),
        (
            (*BASE, "--concurrency", "8", "--workers", "2", "--timeout", "2s", "--duration", "2s"),
            kill_a_worker,
            "lost",
        ),
        ((*OPEN, "--rate", "5", "--duration", "777ms", "--slo", "50ms"), lambda run: None, ""),
        ((*OPEN, "--rate", "2000", "--slo", "50ms", "--max-inflight", "1"), lambda run: None, ""),
    ],
)
def test_a_run(
    tmp_path: Path,
    server: EmbeddedServer,
    arguments: tuple[str, ...],
    while_running: Callable[[Run], object],
    what: str,
) -> None:
    run = bench(tmp_path / "out", *arguments, "-u", server.url, while_running=while_running)
    found = read_back(tmp_path, run)
    summary = found.summary
    assert (found.rows is None) == (what == "no requests.npy")
    assert (summary.plan.cut_ns is not None) == (what == "cut")
    assert (summary.totals.lost + summary.totals.unsent > 0) == (what == "lost")
    assert found.windows is not None
    assert found.events is not None


@pytest.mark.parametrize(
    "arguments", [("--slo", "50ms"), ("--slo", "50ms", "--policy", "round-robin", "--eject")]
)
def test_a_run_that_leaves_a_server(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with (
        EmbeddedServer(ServeConfig(script="500ms: hang")) as failing,
        EmbeddedServer(ServeConfig()) as good,
    ):
        run = bench(
            *(tmp_path / "out", *OPEN, "--duration", "3s", "--timeout", "1s", *arguments),
            *("-u", failing.url, "-u", good.url, "--at", "500ms: echo '=1' >&2"),
        )
    found = read_back(tmp_path, run)
    kinds = {event["event"] for event in found.events or ()}
    assert ("eject" if "--eject" in arguments else "switch") in kinds, kinds
    assert {"command", "command_ended"} <= kinds
