"""One run from configuration to results: what ``harness bench`` does, as a library."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config import EMBEDDED_SERVERS, BenchConfig
from harness.control.preflight import preflight
from harness.devices.watch import DeviceWatch
from harness.embedded.model import ModelSpec
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import ResultsError, UsageError
from harness.host import allowed_cpus, cpu_quota, on_cpus
from harness.load.controller import Controller
from harness.load.coordinator import soon_ns
from harness.load.cpus import plan_cpus
from harness.load.preparation import Preparation
from harness.load.signals import Interrupts, interrupts
from harness.plan import PlanSpec
from harness.progress import Progress
from harness.report.report import write_report
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.directory import check_space, prepare
from harness.results.findings import Verdict, exit_code, judge
from harness.results.stored import load_run
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from harness.session import Session
from harness.units import format_count, format_duration_ns
from harness.untrusted import clean_text

MANY_SLOTS = 100_000_000
"""Walking a plan takes about 15 s a thousand million slots."""


@dataclass(frozen=True)
class Result:
    """A finished run. ``path``: its results directory; ``report``: the page, if one was written."""

    summary: Summary
    verdict: Verdict
    path: Path
    exit_code: int
    report: Path | None = None

    @property
    def text(self) -> str:
        """The closing text."""
        report = None if self.report is None else str(self.report)
        return closing_text(self.summary, str(self.path), report)


class Bench:
    """``Bench(config).run()`` sends one plan and accounts for every slot of it.

    ``on_progress`` is called twice a second, ``on_note`` with what a person may wonder about;
    ``argv`` is what results name as the command, ``control`` makes what decides on switches,
    ``origin_ns`` says when slot 0 is once all is ready (CLOCK_MONOTONIC).
    """

    def __init__(
        self,
        config: BenchConfig,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_note: Callable[[str], None] = lambda text: None,
        argv: Sequence[str] = (),
        control: Callable[..., Controller] = Controller,
        origin_ns: Callable[[], int] = soon_ns,
    ) -> None:
        self.config = config
        self.on_progress = on_progress
        self.on_note = on_note
        self.argv = list(argv)
        self.control = control
        self.origin_ns = origin_ns

    def run(self) -> Result:
        """Raises UsageError, NotStartedError, InterruptedRunError (nothing measured), ResultsError.

        SIGINT and SIGTERM are caught in the main thread: during the load one drains, two give up;
        before it they end the run, after it the results are written all the same.
        """
        with interrupts() as caught:
            return self.run_under(caught)

    def run_under(self, caught: Interrupts) -> Result:
        """As ``run``, under signals that somebody else catches."""
        config = self.config
        spec = PlanSpec(config.dist, config.rate, config.seed, config.duration_ns)
        usable = allowed_cpus()  # before the coordinator leaves the workers' to them
        cpus = plan_cpus(
            usable,
            cpu_quota(),
            config.rate,
            config.workers,
            config.cpus,
            config.spin,
            config.concurrency or config.max_inflight,
        )
        check_space(config, spec.expected_slots)
        if spec.expected_slots > MANY_SLOTS:
            self.on_note(f"walking a plan of about {format_count(spec.expected_slots)} slots")
        plan = spec.facts()
        if plan.slots == 0 and config.rate is not None:
            raise UsageError(
                f"the plan has no slot: {config.rate:g}/s for"
                f" {format_duration_ns(config.duration_ns)}; give a higher rate or duration"
            )
        with contextlib.ExitStack() as stack:
            # The coordinator and what it starts stay off the workers' CPUs.
            stack.enter_context(on_cpus(cpus.coordinator_cpus))
            if not config.urls:
                self.on_note(f"no -u given: starting {EMBEDDED_SERVERS} embedded servers")
            config = stack.enter_context(_with_servers(config))
            devices = DeviceWatch(config)
            devices.find()
            prepared = Preparation(
                config, spec, plan, cpus, preflight(config, on_note=self.on_note)
            )
            prepared.check_memory()
            directory = prepare(config, plan.slots)
            try:
                rows = directory.open_requests(config, None if spec.closed else plan.slots)
                session = Session(
                    prepared,
                    self.on_progress,
                    self.on_note,
                    self.control,
                    usable,
                    self.origin_ns,
                    devices,
                )
                run = session.run(rows, caught, self.argv)
                verdict = judge(run, check_books(run))
                summary = build_summary(run, verdict)
            except BaseException:
                directory.discard()
                raise
        code = exit_code(run, verdict, config)
        try:
            directory.write(run, summary)
        except ResultsError as error:
            error.exit_code = exit_code(run, verdict, config, results_failed=True)
            raise
        return Result(summary, verdict, directory.path, code, self._report(directory.path, caught))

    def _report(self, path: Path, caught: Interrupts) -> Path | None:
        """Where the report is. The results are there: without it they are none the worse."""
        if not self.config.report or len(caught.names) > 1:
            return None
        try:
            return write_report(load_run(path))
        except Exception as error:
            self.on_note(f"no report: {clean_text(str(error) or type(error).__name__)}")
            return None


@contextlib.contextmanager
def _with_servers(config: BenchConfig) -> Iterator[BenchConfig]:
    """The configuration with servers: those it names, or embedded ones for the run."""
    if config.urls:
        yield config
        return
    with contextlib.ExitStack() as stack:
        spec = ServeConfig(model=ModelSpec(name=config.model))
        servers = [stack.enter_context(EmbeddedServer(spec)) for _ in range(EMBEDDED_SERVERS)]
        urls = tuple(server.url for server in servers)
        yield config.model_copy(update={"urls": urls, "embedded": True})
