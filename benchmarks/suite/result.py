"""What a run of the suite found, and its file: JSON, schema 1."""

import os
import statistics
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ResultsError, UsageError

MAX_FILE_BYTES = 64 * 2**20


class Run(BaseModel):
    """One measurement of one tool. ``figures``: name with unit -> value; ``trouble``: why none."""

    case: str
    setting: str
    tool: str
    figures: dict[str, float] = {}
    trouble: str = ""


class Control(BaseModel):
    """Gaps that a bare spin loop saw on the client's CPU, before or after a case."""

    case: str
    when: Literal["before", "after"]
    seconds: float
    over_100us: int
    over_1ms: int
    max_us: float


class SuiteResult(BaseModel):
    """Everything that is stored. ``missing``: peers that cannot be had, and why; ``left_out``: what
    the time did not allow."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    started_utc: str
    quick: bool
    runs_asked: int
    took_s: float = 0.0
    finished: bool = False
    host: dict[str, Any]
    cpus: dict[str, int]
    versions: dict[str, str]
    missing: dict[str, str] = {}
    left_out: list[str] = []
    controls: list[Control] = []
    runs: list[Run] = []

    def values(self, case: str, setting: str, tool: str, figure: str) -> list[float]:
        """That figure of every run that has it."""
        return [
            run.figures[figure] for run in self.of(case, setting, tool) if figure in run.figures
        ]

    def median(self, case: str, setting: str, tool: str, figure: str) -> float | None:
        """None if no run has it."""
        found = self.values(case, setting, tool, figure)
        return statistics.median(found) if found else None

    def of(self, case: str, setting: str, tool: str) -> list[Run]:
        """The runs of one tool."""
        wanted = (case, setting, tool)
        return [run for run in self.runs if (run.case, run.setting, run.tool) == wanted]

    def write(self, path: Path) -> None:
        """Replaces the file as a whole. Raises ResultsError."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(self.model_dump_json(by_alias=True, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror}") from error


def load_result(path: Path) -> SuiteResult:
    """A stored result. Raises UsageError in one line."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is no result of the benchmark: over {MAX_FILE_BYTES} bytes")
    try:
        return SuiteResult.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{path} is no result of the benchmark: {where}: {first['msg']}") from None
