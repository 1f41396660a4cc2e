"""Which runs belong together: by label, by the device found, or as they were named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.results import summary as summary_file
from harness.results.stored import StoredRun, load_run
from harness.untrusted import clean_text

MAX_RUNS = 1000
MAX_NAME_CHARS = 60


@dataclass(frozen=True)
class Group:
    """Runs that are compared as one."""

    name: str
    runs: tuple[StoredRun, ...]


def load_groups(paths: Sequence[Path], baseline: str | None = None) -> list[Group]:
    """The baseline first: the one of that name, or the first named.

    A path is a results directory, or a folder of such. Raises UsageError.
    """
    found = [(path, load_run(run)) for path in paths for run in _runs(path)]
    if len(found) > MAX_RUNS:
        raise UsageError(f"{len(found)} runs are too many to compare; the most is {MAX_RUNS}")
    groups = _grouped(
        [(_labelled(run) or _device(run) or _named(path), run) for path, run in found]
    )
    if len(groups) == 1:
        groups = _grouped([(_named(path), run) for path, run in found])
    if len(groups) < 2:
        raise UsageError(
            f"all runs are of one group, '{groups[0].name}'; name a second one, or tell them apart"
            " with bench --label"
        )
    if baseline is None:
        return groups
    names = [group.name for group in groups]
    if baseline not in names:
        shown = ", ".join(f"'{name}'" for name in names)
        raise UsageError(f"--baseline '{clean_text(baseline)}': the groups are {shown}")
    first = names.index(baseline)
    return [groups[first], *groups[:first], *groups[first + 1 :]]


def _runs(path: Path) -> list[Path]:
    if path.is_dir() and not (path / summary_file.NAME).exists():
        inside = sorted(one.parent for one in path.glob(f"*/{summary_file.NAME}"))
        if inside:
            return inside
    return [path]


def _grouped(named: Sequence[tuple[str, StoredRun]]) -> list[Group]:
    names = list(dict.fromkeys(name for name, _ in named))
    return [Group(name, tuple(run for of, run in named if of == name)) for name in names]


def _labelled(run: StoredRun) -> str:
    labels = run.summary.config.get("labels")
    if not isinstance(labels, dict):
        return ""
    return clean_text(" ".join(f"{key}={labels[key]}" for key in sorted(labels)), MAX_NAME_CHARS)


def _device(run: StoredRun) -> str:
    """The GPUs of all servers, each name once."""
    names: list[str] = []
    for server in run.summary.servers:
        devices = server.get("devices")
        for device in devices if isinstance(devices, list) else ():
            if isinstance(device, dict) and isinstance(device.get("name"), str):
                names.append(device["name"])
    return clean_text(" + ".join(dict.fromkeys(names)), MAX_NAME_CHARS)


def _named(path: Path) -> str:
    return clean_text(path.name or str(path.absolute().name), MAX_NAME_CHARS) or "/"
