"""What the devices of a run used, and what of it went into one inference."""

from collections.abc import Sequence

from harness.devices.device import DeviceUse, servers_of
from harness.results.bounds import Count
from harness.results.devices import Joules, Seconds
from harness.results.parts import Part
from harness.results.rundata import RunData
from harness.results.totals import Totals, totals

COVERS = (
    "whole devices with everything that ran on them, from just before the load until the last"
    " answer was in or given up"
)


class ServerEnergy(Part):
    """Of one server's devices; for one inference None if another server has one of them."""

    joules: Joules | None
    joules_per_in_slo: Joules | None
    shared: bool  # a device of its is another server's too


class EnergyPart(Part):
    """Of all devices, each once. ``joules`` is None as soon as one server's are not known.

    ``inferences``: those in the SLO (without one: answered OK), each request as many as its batch.
    """

    joules: Joules | None
    joules_per_in_slo: Joules | None
    inferences: Count
    devices: Count
    span_s: Seconds
    covers: str
    per_server: dict[str, ServerEnergy]


def energy_part(run: RunData, urls: Sequence[str]) -> EnergyPart | None:
    """None where no device tells its energy. ``urls``: the servers as results name them."""
    each: dict[str, DeviceUse] = {}
    for use in (use for devices in run.devices for use in devices):
        each.setdefault(use.before.uuid, use)
    measured = [use for use in each.values() if use.energy_j is not None]
    if not measured:
        return None
    shared = {uuid for uuid, servers in servers_of(run.devices).items() if len(servers) > 1}
    complete = len(measured) == len(each) and all(
        devices or run.servers[index].get("missing") for index, devices in enumerate(run.devices)
    )
    joules = _joules(measured) if complete else None
    inferences = inferences_in_slo(run, totals(run.tally))
    return EnergyPart(
        joules=joules,
        joules_per_in_slo=_per(joules, inferences),
        inferences=inferences,
        devices=len(measured),
        span_s=max(use.span_s or 0.0 for use in measured),
        covers=COVERS,
        per_server={url: _of_server(run, index, shared) for index, url in enumerate(urls)},
    )


def inferences_in_slo(run: RunData, found: Totals) -> int:
    """Of the run or of one server: in time, or without an SLO answered OK, times the batch."""
    requests = found.ok if run.config.slo is None else found.in_time
    return requests * run.config.batch


def _of_server(run: RunData, index: int, shared: set[str]) -> ServerEnergy:
    devices = run.devices[index]
    is_shared = any(use.before.uuid in shared for use in devices)
    joules = _joules(devices)
    inferences = inferences_in_slo(run, totals(run.tally, index))
    return ServerEnergy(
        joules=joules,
        joules_per_in_slo=None if is_shared else _per(joules, inferences),
        shared=is_shared,
    )


def _joules(devices: Sequence[DeviceUse]) -> float | None:
    """None if one of them does not tell, or there is none."""
    used = [use.energy_j for use in devices]
    known = [one for one in used if one is not None]
    return sum(known) if known and len(known) == len(used) else None


def _per(joules: float | None, inferences: int) -> float | None:
    return joules / inferences if joules is not None and inferences else None
