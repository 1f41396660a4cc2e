"""Lines of the closing text about devices, energy and cost."""

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from harness.results.devices import DeviceFacts
from harness.results.energy import EnergyPart
from harness.results.lines import wrapped
from harness.results.summary import Summary
from harness.units import server_letter
from harness.untrusted import clean_text

MAX_NAME_CHARS = 60
MAX_REASONS = 8


def device_lines(summary: Summary) -> Iterator[str]:
    """A line for each distinct device, then energy and cost where they are known."""
    alike: dict[str, list[DeviceFacts]] = {}
    for device in devices_of(summary):
        alike.setdefault(f"{_name(device)} {_limits(device)}", []).append(device)
    for devices in alike.values():
        yield from wrapped("device", _device(devices))
    what = "OK" if summary.slo is None else "in-SLO"
    if summary.energy is not None:
        yield from wrapped("energy", _energy(summary.energy, what))
    if summary.cost is not None:
        each = summary.cost.usd_per_million
        text = (
            f"no {what} inference"
            if each is None
            else f"{each:.3g} USD per million {what} inferences"
        )
        yield from wrapped("cost", f"{summary.cost.usd_per_hour:g} USD/h: {text}")


def devices_of(summary: Summary) -> list[DeviceFacts]:
    """All servers' devices, each once; what is no device is left out: the file may be anybody's."""
    found: dict[str, DeviceFacts] = {}
    for server in summary.servers:
        devices = server.get("devices")
        for device in devices if isinstance(devices, list) else ():
            try:
                facts = DeviceFacts.model_validate(device)
            except ValidationError:
                continue
            found.setdefault(facts.uuid, facts)
    return list(found.values())


def _device(devices: Sequence[DeviceFacts]) -> str:
    first = devices[0]
    count = f"{len(devices)} x " if len(devices) > 1 else ""
    clocks = [one.sm_clock_mhz for one in devices if one.sm_clock_mhz is not None]
    powers = [round(one.power_w) for one in devices if one.power_w is not None]
    parts = []
    if first.sm_clock_limit_mhz is not None:
        parts.append(f"SM {_range(clocks)}{first.sm_clock_limit_mhz} MHz")
    if first.power_cap_w is not None:
        parts.append(f"{_range(powers)}{first.power_cap_w:.0f} W")
    parts += _throttled(devices)
    driver = f", driver {clean_text(first.driver, 20)}" if first.driver else ""
    return f"{count}{_name(first)}{driver}" + (": " + ", ".join(parts) if parts else "")


def _name(device: DeviceFacts) -> str:
    return clean_text(device.name, MAX_NAME_CHARS)


def _limits(device: DeviceFacts) -> str:
    """What must be the same for one line to speak of several."""
    return f"{device.sm_clock_limit_mhz} {device.power_cap_w} {device.driver}"


def _range(values: Sequence[int]) -> str:
    """Where they were of what bounds them."""
    if not values:
        return "up to "
    low, high = min(values), max(values)
    return f"{low} of " if low == high else f"{low}-{high} of "


def _throttled(devices: Sequence[DeviceFacts]) -> list[str]:
    """The longest time that each policy held one of them down, or else what was seen."""
    held_s: dict[str, float] = {}
    for device in devices:
        for policy, time_s in device.throttled_s.items():
            if time_s >= 0.05:  # it would read 0.0
                held_s[policy] = max(held_s.get(policy, 0.0), time_s)
    texts = [f"{clean_text(name, 30)} {held_s[name]:.1f} s" for name in list(held_s)[:MAX_REASONS]]
    if not texts:
        seen = dict.fromkeys(reason for device in devices for reason in device.throttle_reasons)
        texts = [clean_text(reason, 30) for reason in list(seen)[:MAX_REASONS]]
    return [f"throttled ({', '.join(texts)})".replace("_", " ")] if texts else []


def _energy(energy: EnergyPart, what: str) -> str:
    if energy.joules is not None:
        each = energy.joules_per_in_slo
        text = f"no {what} inference" if each is None else f"{_joules(each)} per {what} inference"
        whole = f"{energy.devices} whole device{'s' * (energy.devices != 1)}"
        return f"{_joules(energy.joules)} in {energy.span_s:.1f} s by {whole}: {text}"
    parts = []
    for index, server in enumerate(energy.per_server.values()):
        each = server.joules_per_in_slo
        known = "unknown" if server.joules is None else _joules(server.joules)
        beside = "" if each is None else f" ({_joules(each)} per {what} inference)"
        parts.append(f"{server_letter(index)} {known}{beside}")
    return ", ".join(parts)


def _joules(joules: float) -> str:
    """Three digits and their unit."""
    for factor, unit in ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J")):
        if joules >= factor:
            return f"{joules / factor:.3g} {unit}"
    return f"{joules * 1e3:.3g} mJ"
