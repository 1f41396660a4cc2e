"""``summary.json``, schema 1: its model, and how it is read back."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, FailFast, Field, ValidationError, model_validator

from harness.config import MAX_SERVERS
from harness.errors import UsageError
from harness.results.bounds import Count
from harness.results.cost import CostPart
from harness.results.energy import EnergyPart
from harness.results.outages import Outage
from harness.results.parts import (
    Client,
    DetectorPart,
    Latencies,
    Limits,
    Part,
    PerServer,
    PlanPart,
    Rate,
    ServerStats,
    SloPart,
    Worker,
)
from harness.results.reading import open_stored, read_json
from harness.results.server_findings import Finding
from harness.results.switches import Switch
from harness.results.totals import Totals
from harness.results.validity import InvalidReason
from harness.untrusted import clean_text

NAME = "summary.json"
SCHEMA = 1
MAX_SUMMARY_BYTES = 64 * 2**20


class Summary(Part):
    """One run. Latencies and times in ns; times inside the run since its start."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    schema_version: Literal[1] = Field(alias="schema")
    harness_version: str
    run_id: str
    started_utc: str
    origin_ns: Count = 0
    argv: Annotated[list[str], FailFast()]
    config: dict[str, Any]
    limits: Limits
    host: dict[str, Any]
    servers: Annotated[list[dict[str, Any]], FailFast()] = Field(
        min_length=1, max_length=MAX_SERVERS
    )
    signature: dict[str, Any]
    plan: PlanPart
    valid: bool
    invalid_reasons: Annotated[list[InvalidReason], FailFast()]
    findings: Annotated[list[Finding], FailFast()]
    interrupted_by: str | None
    slo: SloPart | None
    totals: Totals
    rate: Rate
    response_ns: Latencies
    response_ok_ns: Latencies
    service_ns: Latencies
    lateness_ns: Latencies
    send_delay_ns: Latencies
    per_server: dict[str, PerServer]
    server_stats: dict[str, ServerStats]
    switches: Annotated[list[Switch], FailFast()]
    outages: Annotated[list[Outage], FailFast()]
    detector: DetectorPart | None = None
    workers: Annotated[list[Worker], FailFast()]
    client: Client
    energy: EnergyPart | None = None
    cost: CostPart | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> "Summary":
        """What one part names is in another, and slots add up unless the books say otherwise."""
        urls = self.urls
        if not list(self.per_server) == list(self.server_stats) == list(dict.fromkeys(urls)):
            raise ValueError("per_server and server_stats are not of its servers")
        for switch in self.switches:
            if switch.outage is not None and switch.outage >= len(self.outages):
                raise ValueError(f"a switch names outage {switch.outage}, which is not there")
            phases = (switch.phases.before, switch.phases.during, switch.phases.after)
            named = [switch.from_, switch.to, *switch.in_flight]
            if not set(named).union(*(phase.servers for phase in phases)) <= set(urls):
                raise ValueError("a switch names a server that is not there")
        if self.balanced:
            for found in (self.totals, *(one.totals for one in self.per_server.values())):
                found.check()
        return self

    @property
    def urls(self) -> list[str]:
        """The servers, in order: as they are named everywhere in results."""
        return [str(server.get("url")) for server in self.servers]

    @property
    def balanced(self) -> bool:
        """Whether every slot is accounted for."""
        return all(reason.code != "books" for reason in self.invalid_reasons)

    def to_json(self) -> bytes:
        """The file's content: strict JSON, no NaN."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"

    def to_line(self) -> str:
        """The same on one line."""
        return self.model_dump_json(by_alias=True) + "\n"


def load_summary(path: Path) -> Summary:
    """Read a results directory or its ``summary.json``. Raises UsageError in one line."""
    shown = clean_text(str(path))
    try:
        file = path / NAME if path.is_dir() else path
        with open_stored(file) as stream:
            if stream.seek(0, 2) > MAX_SUMMARY_BYTES:
                raise ValueError(f"over {MAX_SUMMARY_BYTES} bytes")
            stream.seek(0)
            content = read_json(stream.read(MAX_SUMMARY_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read {NAME} of '{shown}': {error.strerror}") from None
    except ValueError as error:
        why = clean_text(str(error), 100)
        raise UsageError(f"{NAME} of '{shown}' is no results summary: {why}") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise UsageError(
            f"{NAME} of '{shown}' has results schema {clean_text(str(schema), 20)};"
            f" this version reads {SCHEMA}"
        )
    try:
        return Summary.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = clean_text(".".join(str(step) for step in first["loc"]), 60)
        why = clean_text(first["msg"].removeprefix("Value error, "), 100)
        raise UsageError(
            f"{NAME} of '{shown}' is no results summary: {where}{': ' * bool(where)}{why}"
        ) from None
