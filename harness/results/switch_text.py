"""Switches and outages in the closing text."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from harness.config import NS_PER_S
from harness.detector.rules import HARD_DOWN, STALLED
from harness.results.lines import LABEL_CHARS, WIDTH, share_text, wrapped
from harness.results.outages import Outage, least_outage_ns
from harness.results.summary import Summary
from harness.results.switches import Phase, Switch, last_seen_ns
from harness.units import server_letter
from harness.untrusted import clean_text

MAX_SHOWN = 5
SHOWN_FIRST = 3  # of more than that, and the last
INDENT = "  "
GAP = "   "


def switch_lines(summary: Summary) -> Iterator[str]:
    """A block for each switch, and the longest outage where it belongs to none of them.

    A silence in which nothing failed is the arrivals' doing, and not told.
    """
    switches = summary.switches
    left_out = 0
    shown = switches
    if len(switches) > MAX_SHOWN:
        left_out = len(switches) - SHOWN_FIRST - 1
        shown = [*switches[:SHOWN_FIRST], switches[-1]]
    for index, switch in enumerate(shown):
        if left_out and index == SHOWN_FIRST:
            yield f"{INDENT}... {left_out} more switches, in summary.json"
        yield from _switch(summary, switch)
    longest = max(summary.outages, key=lambda one: one.duration_ns, default=None)
    told = [summary.outages[one.outage] for one in shown if one.outage is not None]
    if longest is None or longest in told or not longest.failed or summary.detector is None:
        return
    rate = summary.plan.rate or max(summary.rate.offered, 1e-6)
    least_ns = least_outage_ns(rate, summary.detector.stall_tolerance_ns)
    if longest.duration_ns >= least_ns:
        words = _outage_words(summary, longest)
        words[0] += f", from +{longest.t_start_ns / NS_PER_S:.3f} s"
        yield from _packed(words, f"{'outage':<{LABEL_CHARS}}", " " * LABEL_CHARS)


def _switch(summary: Summary, switch: Switch) -> Iterator[str]:
    names = {url: server_letter(index) for index, url in enumerate(summary.per_server)}
    source, target = names[switch.from_], names[switch.to]
    head = f"switch {source} -> {target}{INDENT}"
    rule, figures = _rule(summary, switch)
    when = f"+{switch.t_decide_ns / NS_PER_S:.3f} s{_wall_clock(summary, switch.t_decide_ns)}"
    whole = f"{head}{rule}{', ' * bool(figures)}{figures}"
    if len(whole) + len(INDENT) + len(when) <= WIDTH:
        yield f"{whole:<{WIDTH - len(when)}}{when}"
    else:
        yield f"{head + rule:<{WIDTH - len(when)}}{when}"
        yield from wrapped(INDENT, figures, len(INDENT))
    yield from _packed(_moments(switch), INDENT, INDENT)
    earlier = [one.outage for one in summary.switches if one.epoch < switch.epoch]
    if switch.outage is not None and switch.outage in earlier:
        yield f"{INDENT}in the same outage as the switch before"
    elif switch.outage is not None:
        words = _outage_words(summary, summary.outages[switch.outage])
        words[0] = f"outage {words[0]}"
        yield from _packed(words, INDENT, INDENT)
    yield from _phases(switch, names)


def _rule(summary: Summary, switch: Switch) -> tuple[str, str]:
    """Its name, and its figures."""
    rule = clean_text(switch.rule, 20)
    found = f"{switch.x} of {switch.n}"
    if switch.rule == STALLED:
        return rule, f"nothing answered, {switch.n} in flight"
    if switch.rule == HARD_DOWN:
        return rule, f"{found} in a row"
    limit = "" if summary.slo is None else f"limit {100 * summary.slo.limit:.4g} %, "
    return rule, f"{found} ({limit}bound {math.floor(switch.bound)})"


def _wall_clock(summary: Summary, t_ns: int) -> str:
    """The time of day, or nothing if the file has none."""
    try:
        started = datetime.fromisoformat(summary.started_utc)
        moment = started + timedelta(microseconds=t_ns // 1000)
    except (ValueError, OverflowError):
        return ""
    return f"{INDENT}{moment.isoformat(timespec='milliseconds')[11:23]}Z"


def _moments(switch: Switch) -> list[str]:
    """From the command that came before, or else from the onset."""
    moments = {
        "command (--at)": switch.command_ns,
        "onset": switch.t_onset_ns,
        "decided": switch.t_decide_ns,
    }
    known = {name: t_ns for name, t_ns in moments.items() if t_ns is not None}
    first_ns = next(iter(known.values()))
    seen = [t_ns for t_ns in switch.t_seen_ns if t_ns is not None]
    if seen:
        some = f" ({len(seen)} of {len(switch.t_seen_ns)} saw it)"
        known["last worker"] = last_seen_ns(switch)
    words = [f"{name} {(t_ns - first_ns) / NS_PER_S:+.3f}" for name, t_ns in known.items()]
    if not seen:
        return [*words, "no worker saw it"]
    words[-1] += some * (len(seen) < len(switch.t_seen_ns))
    return words


def _outage_words(summary: Summary, outage: Outage) -> list[str]:
    by = outage.failed_by
    parts = [
        f"{count} {what}"
        for count, what in (
            (by.error_or_timeout, "error or timeout"),
            (by.slow, "slow"),
            (by.other, "dropped, cancelled or lost"),
        )
        if count
    ]
    failed = " + ".join(parts) if parts else "0"
    if len(parts) > 1:
        failed = f"{outage.failed} = {failed}"
    words = [
        f"{outage.duration_ns / NS_PER_S:.3f} s without an in-SLO answer",
        f"failed in it: {failed}",
    ]
    if summary.slo is not None and outage.recovery_ns is None:
        words.append(_no_recovery(summary, outage))
    elif outage.recovery_ns is not None:
        words.append(f"full window within the SLO after {outage.recovery_ns / NS_PER_S:.3f} s")
    return words


def _no_recovery(summary: Summary, outage: Outage) -> str:
    end_ns = summary.plan.cut_ns or round(summary.plan.duration_s * NS_PER_S)
    window_ns = 0 if summary.detector is None else summary.detector.window_ns or 0
    if end_ns - outage.t_end_ns < window_ns:
        return "the run ended before a full window"
    return "no full window within the SLO after it"


def _phases(switch: Switch, names: dict[str, str]) -> Iterator[str]:
    yield f"{INDENT}{'':13}{'slots/s':>11}{'ok/s':>11}{'violated':>11}"
    for phase_name in ("before", "during", "after"):
        phase: Phase = getattr(switch.phases, phase_name)
        used = [(url, share) for url, share in phase.servers.items() if share.decided]
        for index, (url, share) in enumerate(used):
            label = "" if index else phase_name
            name = names[url]
            violated = share_text(share.violations / share.decided)
            yield (
                f"{INDENT}{label:<8}{name:<5}{share.rate:>11.1f}{share.ok_rate:>11.1f}"
                f"{violated:>11}"
            )


def _packed(words: Sequence[str], first: str, following: str) -> Iterator[str]:
    """The phrases, as many on a line as fit; one that is longer than a line is broken."""
    lines = [first + words[0]]
    for phrase in words[1:]:
        if len(lines[-1]) + len(GAP) + len(phrase) <= WIDTH:
            lines[-1] += GAP + phrase
        else:
            lines.append(following + phrase)
    for line in lines:
        yield from textwrap.wrap(line, WIDTH, subsequent_indent=following)
