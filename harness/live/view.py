"""The live view as lines of text: a pure function of the progress and the room there is."""

from collections.abc import Callable

from rich.cells import cell_len
from rich.text import Text

from harness.config import NS_PER_S
from harness.live.bars import Marks, bar, limit_bar
from harness.progress import (
    ACTIVE,
    COOLING,
    EJECTED,
    LATENCIES_OVER_S,
    MISSING,
    STANDBY,
    Progress,
    ServerState,
)
from harness.units import format_duration_ns, format_latency_ms, server_letter
from harness.untrusted import clean_text

TENTH_NS = NS_PER_S // 10
LABEL_CELLS = 10
GAP_CELLS = 3
BESIDE_BAR_CELLS = 36
"""Kept for the text beside a bar, so that bars below each other are as long."""
LEAST_BAR_CELLS = 10
MOST_NAME_CELLS = 36
STATE_CELLS = 21
RECENT = f"last {LATENCIES_OVER_S} s"
STATE_STYLES = {ACTIVE: "bold green", COOLING: "yellow", EJECTED: "yellow", MISSING: "red"}


def view_lines(progress: Progress, columns: int, rows: int, marks: Marks) -> list[Text]:
    """At most ``rows`` lines of at most ``columns`` cells; names are made fit to print."""
    lines = [
        *_time(progress, columns, marks),
        *_row("load", _load(progress), columns),
        *_row("response", _response(progress), columns),
        *_violated(progress, columns, marks),
        *_row("so far", _so_far(progress), columns),
    ]
    lines += _servers(progress, columns, rows - len(lines))
    return lines[: max(0, rows)]


def _time(progress: Progress, columns: int, marks: Marks) -> list[Text]:
    last_ns = progress.duration_ns if progress.cut_ns is None else progress.cut_ns
    t_ns = max(0, progress.t_ns)
    if t_ns < last_ns:
        shown_ns = t_ns - t_ns % TENTH_NS  # so that what is over and what is left add up
        text = f"{_clock(shown_ns)} of {_clock(last_ns)}, {_clock(last_ns - shown_ns)} left"
    else:
        text = f"{'over' if progress.cut_ns is None else 'cut'} at {_clock(last_ns)}"
        if progress.end_ns is not None:
            text += f", drain {_clock(max(0, progress.end_ns - t_ns))} at most"
    share = t_ns / last_ns if last_ns else 1.0
    return _row_with_bar(
        progress.phase, lambda cells: bar(share, cells, marks), Text(text), columns
    )


def _load(progress: Progress) -> list[Text]:
    parts = [Text(clean_text(progress.model)), Text(progress.dist)]
    if progress.target_rate is not None:
        parts.append(Text(f"target {_rate(progress.target_rate)}"))
    elif progress.concurrency is not None:
        parts.append(Text(f"concurrency {progress.concurrency}"))
    if progress.sent_rate is not None:
        parts.append(Text(f"sent {_rate(progress.sent_rate)}"))
    if progress.ok_rate is not None:
        parts.append(Text(f"ok {_rate(progress.ok_rate)}"))
    return [part for part in parts if part]


def _response(progress: Progress) -> list[Text]:
    if progress.p50_ns is None or progress.p99_ns is None:
        return [Text("no OK answers", "red"), Text(RECENT)]
    return [
        Text(f"p50 {format_latency_ms(progress.p50_ns)} ms"),
        Text(f"p99 {format_latency_ms(progress.p99_ns)} ms"),
        Text(f"OK answers, {RECENT}"),
    ]


def _violated(progress: Progress, columns: int, marks: Marks) -> list[Text]:
    share, limit = progress.recently_violated, progress.limit
    over = format_duration_ns(progress.recent_ns)
    text = Text("nothing decided" if share is None else f"{100 * share:.2f} %")
    if limit is None:
        return _row("violated", [text, Text("no SLO"), Text(f"last {over}")], columns)
    if share is not None and share > limit:
        text.stylize("bold red")
    text.append(f", limit {100 * limit:g} %, last {over}", style="default")

    def made(cells: int) -> Text:
        return limit_bar(share or 0.0, limit, cells, marks)

    return _row_with_bar("violated", made, text, columns)


def _so_far(progress: Progress) -> list[Text]:
    parts = [
        Text(f"ok {progress.ok}"),
        Text(f"dropped {progress.dropped}", "yellow" if progress.dropped else ""),
        Text(f"violated {100 * progress.violated:.2f} %"),
    ]
    if progress.lateness_p99_ns is not None:
        parts.append(Text(f"lateness p99 {format_latency_ms(progress.lateness_p99_ns)} ms"))
    return parts


def _servers(progress: Progress, columns: int, room: int) -> list[Text]:
    """A row each; where there is no room for all, those in use come first."""
    widest = max((cell_len(_name(server)) for server in progress.servers), default=0)
    rows = [
        _server(place, server, progress.inflight_cap, widest, columns)
        for place, server in enumerate(progress.servers)
    ]
    if sum(map(len, rows)) <= room:
        return [line for row in rows for line in row]
    shown: list[int] = []
    room -= 1
    for place in sorted(range(len(rows)), key=lambda one: progress.servers[one].state != ACTIVE):
        room -= len(rows[place])
        if room < 0:
            break
        shown.append(place)
    more = Text(f"and {len(rows) - len(shown)} servers more", "dim")
    more.truncate(columns, overflow="crop")
    return [*(line for place in sorted(shown) for line in rows[place]), more]


def _server(
    place: int, server: ServerState, cap: int | None, widest: int, columns: int
) -> list[Text]:
    name, state, style = _name(server), server.state, STATE_STYLES.get(server.state, "")
    if server.back_ns is not None:
        state += f" {_clock(server.back_ns)}"
    if not server.connected and server.state != MISSING:
        state = "no connection" if server.state == STANDBY else f"{server.state}, no connection"
        style = "red"
    in_flight = f"in flight {server.in_flight}" + ("" if cap is None else f" of {cap}")
    parts = [
        Text(name + " " * (widest - cell_len(name))),
        Text(f"{state:<{STATE_CELLS}}", style),
        Text(in_flight),
    ]
    return _row(f"server {server_letter(place)}", parts, columns)


def _name(server: ServerState) -> str:
    text = Text(clean_text(server.url))
    text.truncate(MOST_NAME_CELLS, overflow="ellipsis")
    return text.plain


def _row(label: str, parts: list[Text], columns: int) -> list[Text]:
    """The parts behind the label, on as many lines as they need."""
    lines = [_label(label, columns)]
    indent, filled = lines[0].cell_len, False
    for part in parts:
        needed = GAP_CELLS + cell_len(part.plain.rstrip())
        if filled and lines[-1].cell_len + needed > columns:
            lines.append(Text(" " * indent))
            filled = False
        lines[-1].append_text(Text(" " * GAP_CELLS if filled else "")).append_text(part)
        filled = True
    for line in lines:
        line.rstrip()
        line.truncate(columns, overflow="crop")
    return lines


def _row_with_bar(label: str, made: Callable[[int], Text], text: Text, columns: int) -> list[Text]:
    """The bar with the text beside it, or below it where there is little room."""
    indent = _label(label, columns).cell_len
    beside = columns - indent - GAP_CELLS - BESIDE_BAR_CELLS
    return _row(
        label, [made(beside if beside >= LEAST_BAR_CELLS else columns - indent), text], columns
    )


def _label(label: str, columns: int) -> Text:
    cells = min(LABEL_CELLS, columns // 3)
    return Text(f"{label:<{cells}}"[:cells], "dim")


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


def _clock(time_ns: int) -> str:
    """``7.3 s``, ``48 s``, ``2:05``, ``1:02:05``."""
    if time_ns < 10 * NS_PER_S:
        return f"{time_ns // TENTH_NS / 10:g} s"
    seconds = round(time_ns / NS_PER_S)
    if seconds < 120:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
