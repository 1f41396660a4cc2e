"""What one run is asked to do: parsed, checked, and saved with its results."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.records import BUCKET_NS
from harness.units import format_duration_ns

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
DAY_NS = 86_400 * NS_PER_S
EMBEDDED_SERVERS = 2
"""Started for a run that names no server."""
MAX_SERVERS = 32  # the places in the shared memory of workers
BALANCING = ("round-robin", "least-outstanding", "weighted")
"""The policies that spread the load over the servers."""
MAX_WEIGHT = 1000
MAX_CONCURRENCY = 16_384
MAX_LABELS = 16
MOST_USD_PER_H = 1e6
MAX_COMMAND_BYTES = 100_000
"""The kernel takes one argument of 128 KiB at most."""


LabelText = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w .:/+@-]+$")]
"""Fit to be shown anywhere."""


class Slo(BaseModel):
    """A latency threshold T and the share L of slots that may violate it.

    Violated: response latency strictly greater than ``threshold_ns``, or not OK by then.
    Exceeded: a share of violations strictly greater than ``limit``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold_ns: int = Field(gt=0, le=DAY_NS)
    limit: float = Field(gt=0, lt=1)
    text: str  # as the user spelled it


class Switching(BaseModel):
    """When the load leaves a server and where it goes; docs/switching.md has the reasons."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Literal["failover", "round-robin", "least-outstanding", "weighted", "alternate"] = (
        "failover"  # alternate: 5 s each in turn
    )
    weights: tuple[Annotated[int, Field(ge=1, le=MAX_WEIGHT)], ...] = ()  # one per server
    eject: bool = False  # leave failing servers out, under the other policies
    rule: Literal["default", "plain"] = "default"
    given_window_ns: int | None = Field(default=None, ge=BUCKET_NS, le=DAY_NS)
    stall_tolerance_ns: int = Field(default=250 * NS_PER_MS, ge=BUCKET_NS, le=DAY_NS)
    dwell_ns: int = Field(default=10 * NS_PER_S, ge=0, le=DAY_NS)
    cool_down_ns: int = Field(default=30 * NS_PER_S, ge=0, le=DAY_NS)
    on_all_bad: Literal["stay", "stop"] = "stay"
    require: Literal["all", "any"] = "all"  # of the servers, to start
    keep_warm: float = Field(default=1.0, ge=0, le=1000)  # requests/s to a server not in use

    @model_validator(mode="after")
    def _fits_together(self) -> "Switching":
        given = self.model_fields_set
        if (self.policy == "weighted") != bool(self.weights):
            raise ValueError(f"--policy {self.policy}: weights belong to weighted, as weighted:3,1")
        if self.policy == "failover" and self.eject:
            raise ValueError(
                "--eject: failover leaves a failing server by itself; leave --eject out, or give"
                f" a --policy of {', '.join(BALANCING)}"
            )
        if self.policy != "failover" and not self.eject:
            for name in ("dwell_ns", "cool_down_ns", "on_all_bad"):
                if name in given:
                    option = "--" + name.removesuffix("_ns").replace("_", "-")
                    raise ValueError(
                        f"{option}: --policy {self.policy} never leaves a server; add --eject, or"
                        f" leave {option} out"
                    )
        if self.rule == "plain" and "stall_tolerance_ns" in given:
            raise ValueError("--stall-tolerance: --rule plain has none; leave one of them out")
        if self.given_window_ns is not None and self.rule == "default":
            _check_window(self.given_window_ns, self.stall_tolerance_ns)
        return self


class AtCommand(BaseModel):
    """A shell command that is started at a moment of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_ns: int = Field(ge=0, le=366 * DAY_NS)
    command: str = Field(min_length=1, max_length=MAX_COMMAND_BYTES, pattern=r"^[^\x00]*$")


class BenchConfig(BaseModel):
    """One run. Times in ns; ``None`` means: derived, as the property of that name says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    model_version: str = ""
    urls: tuple[str, ...] = ()  # host:port; empty: two embedded servers for the run
    embedded: bool = False  # urls are those of servers that lived for the run alone
    transport: Literal["native", "tritonclient"] = "native"
    metrics_urls: tuple[str, ...] = ()  # one per url, or "none"; empty: a port above each

    dist: Literal["constant", "poisson", "closed"] = "constant"
    rate: float | None = Field(default=100.0, ge=1e-6, le=1e9)  # requests/s; closed: None
    concurrency: int | None = Field(default=None, ge=1, le=MAX_CONCURRENCY)  # closed: in all
    duration_ns: int = Field(default=30 * NS_PER_S, gt=0, le=366 * DAY_NS)
    seed: int = Field(default=1, ge=0)
    warmup_ns: int = Field(default=2 * NS_PER_S, ge=0, le=DAY_NS)

    slo: Slo | None = None
    request_timeout_ns: int | None = Field(default=None, gt=0, le=30 * DAY_NS)
    request_drain_timeout_ns: int | None = Field(default=None, ge=0, le=30 * DAY_NS)
    on_timeout: Literal["keep", "cancel"] = "keep"

    switching: Switching = Switching()
    at: tuple[AtCommand, ...] = ()

    batch: int = Field(default=1, ge=1)
    shapes: dict[str, tuple[int, ...]] = {}
    input_data: Literal["random", "zero"] = "random"
    headers: tuple[tuple[str, SecretStr], ...] = ()

    workers: int | None = Field(default=None, ge=1)
    cpus: tuple[int, ...] | None = None  # CPUs for the workers
    spin: Literal["auto", "always", "never"] = "auto"
    connections: int = Field(default=1, ge=1, le=64)  # per worker and server
    max_inflight: int | None = Field(default=None, ge=1)  # per server, for the whole run
    max_lag_ns: int | None = Field(default=None, gt=0, le=DAY_NS)
    max_response_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)

    cost_usd_per_h: float | None = Field(default=None, gt=0, le=MOST_USD_PER_H)  # of all servers
    labels: dict[LabelText, LabelText] = Field(default={}, max_length=MAX_LABELS)
    records: Literal["auto", "all", "none"] = "auto"
    out: str | None = Field(default=None, min_length=1)
    force: bool = False
    allow_invalid: bool = False
    fail_on_violation: bool = False
    report: bool = True  # report.html beside the results
    percentile: float | None = Field(default=None, gt=0, lt=100)

    @model_validator(mode="before")
    @classmethod
    def _closed_loop(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("concurrency") is None:
            return given
        for name in ("rate", "dist", "max_inflight", "max_lag_ns"):
            if given.get(name, None) not in (None, "closed"):
                option = "--" + name.removesuffix("_ns").replace("_", "-")
                raise ValueError(
                    f"--concurrency {given['concurrency']}: a closed loop sends as soon as an"
                    f" answer is back and has no {option}; leave one of them out"
                )
        return {**given, "dist": "closed", "rate": None}

    @field_validator("model", "model_version")
    @classmethod
    def _is_text(cls, name: str, info: ValidationInfo) -> str:
        if not name and info.field_name == "model":
            raise ValueError("empty; give the model's name")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError("not UTF-8") from None
        return name

    @model_validator(mode="after")
    def _switching_fits(self) -> "BenchConfig":
        switching, servers = self.switching, len(self.urls) or EMBEDDED_SERVERS
        if servers > MAX_SERVERS:
            raise ValueError(f"-u: {servers} servers are too many; give at most {MAX_SERVERS}")
        if switching.weights and len(switching.weights) != servers:
            weights = ",".join(map(str, switching.weights))
            raise ValueError(
                f"--policy weighted:{weights} has {len(switching.weights)}"
                f" weight{'s'[: len(switching.weights) > 1]} for {servers}"
                f" server{'s'[: servers > 1]}; give one weight per -u"
            )
        if self.slo is None:
            if switching.rule == "plain":
                raise ValueError("--rule plain counts violations; add an --slo, such as --slo 50ms")
            if switching.given_window_ns is not None:
                raise ValueError("--window is of violations; add an --slo, such as --slo 50ms")
        elif switching.rule == "default" and switching.given_window_ns is None:
            _check_stall_tolerance(switching.stall_tolerance_ns, self.slo)
        return self

    @model_validator(mode="after")
    def _metrics_urls_fit(self) -> "BenchConfig":
        given, servers = len(self.metrics_urls), len(self.urls)
        if given and self.metrics_urls != ("none",) and given != servers:
            raise ValueError(
                f"--metrics-url: {given} given for {servers} -u; give one per -u in order, or"
                " none alone"
            )
        return self

    @model_validator(mode="after")
    def _has_a_rate(self) -> "BenchConfig":
        if self.concurrency is None and (self.rate is None or self.dist == "closed"):
            raise ValueError(
                f"--dist {self.dist} without a "
                + ("--concurrency" if self.dist == "closed" else "--rate")
                + "; give constant or poisson and a --rate, or a --concurrency"
            )
        return self

    @model_validator(mode="after")
    def _commands_fit(self) -> "BenchConfig":
        for one in self.at:
            if one.at_ns >= self.duration_ns:
                raise ValueError(
                    f"--at {format_duration_ns(one.at_ns)} is not before the end of the run at"
                    f" {format_duration_ns(self.duration_ns)}; give an earlier time or a longer"
                    " --duration"
                )
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> "BenchConfig":
        if self.slo is not None and self.timeout_ns < self.slo.threshold_ns:
            raise ValueError("--timeout must not be shorter than the SLO's threshold")
        if self.lag_ns > self.timeout_ns:
            raise ValueError("--max-lag must not be longer than --timeout")
        return self

    @property
    def timeout_ns(self) -> int:
        """Deadline of a request from t_taken: max(10 T, 10 s), 60 s without an SLO."""
        if self.request_timeout_ns is not None:
            return self.request_timeout_ns
        if self.slo is None:
            return 60 * NS_PER_S
        return max(10 * self.slo.threshold_ns, 10 * NS_PER_S)

    @property
    def drain_timeout_ns(self) -> int:
        """How long after the last slot answers are waited for."""
        if self.request_drain_timeout_ns is not None:
            return self.request_drain_timeout_ns
        return self.timeout_ns

    @property
    def lag_ns(self) -> int:
        """How late a slot may still be handed: min(T / 2, 100 ms) unless given."""
        if self.max_lag_ns is not None:
            return self.max_lag_ns
        lag_ns = 100 * NS_PER_MS
        if self.slo is not None:
            lag_ns = min(self.slo.threshold_ns // 2, lag_ns)
        return min(lag_ns, self.timeout_ns)


def _check_window(window_ns: int, stall_tolerance_ns: int) -> None:
    """Raises ValueError for a window that a tolerated stall would fill."""
    if window_ns < stall_tolerance_ns:
        raise ValueError(
            f"--window {format_duration_ns(window_ns)} is shorter than the stall tolerance of"
            f" {format_duration_ns(stall_tolerance_ns)}; give a longer one, or a shorter"
            " --stall-tolerance"
        )


def _check_stall_tolerance(stall_tolerance_ns: int, slo: Slo) -> None:
    """Raises ValueError if the window S / L would be longer than a day."""
    window_ns = math.ceil(stall_tolerance_ns / Fraction(slo.limit))
    if window_ns > DAY_NS:
        raise ValueError(
            f"--stall-tolerance {format_duration_ns(stall_tolerance_ns)} at a limit of"
            f" {slo.limit:g} asks for a window of {window_ns / DAY_NS:.3g} days; the most is one:"
            " give a shorter --stall-tolerance or a higher --violation-limit"
        )
