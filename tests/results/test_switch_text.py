"""Switches and outages as the closing text tells them."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness._tally import BUCKET_FIELDS
from harness.config import NS_PER_MS, NS_PER_S
from harness.records import Outcome
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.findings import judge
from harness.results.lines import WIDTH
from harness.results.rundata import RunData
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from harness.results.switch_text import switch_lines
from tests.synthetic import Failure, synthetic_run

MS, S = NS_PER_MS, NS_PER_S
URLS = ("gpu1:8001", "gpu2:8001")


def summarize(run: RunData) -> Summary:
    return build_summary(run, judge(run, check_books(run)))


def lines_of(run: RunData) -> list[str]:
    return list(switch_lines(summarize(run)))


def switched(count: int = 1, **changes: Any) -> RunData:
    """A switch every second from second 5 on, to and fro, each 0.33 s after the onset."""
    failures = tuple(Failure((5 + n) * S, (5 + n) * S + 330 * MS, 1 - n % 2) for n in range(count))
    return synthetic_run(
        **{
            "urls": URLS,
            "rate": 200.0,
            "duration_ns": 16 * S,
            "mix": {Outcome.OK: 49, Outcome.ERROR: 1},
            "failures": failures,
            **changes,
        }
    )


def with_command(run: RunData) -> RunData:
    run.events.append({"t_ns": 4_958 * MS, "event": "command", "command": "kill -STOP 7"})
    return run


def by_rate(run: RunData, **changes: Any) -> RunData:
    for name, value in {"rule": "rate", "n": 4980, "x": 312, "bound": 295.14, **changes}.items():
        setattr(run.switches[0], name, value)
    return run


GOLDEN = """\
switch A -> B  hard-down, 63 of 63 in a row              +5.330 s  03:04:11.008Z
  command (--at) +0.000   onset +0.042   decided +0.372   last worker +0.372
  outage 0.341 s without an in-SLO answer   failed in it: 73 error or timeout
  full window within the SLO after 5.342 s
                   slots/s       ok/s   violated
  before  A          195.2      192.4     1.43 %
  during  A          208.6        0.0   100.00 %
          B           11.4       11.4     0.00 %
  after   B          198.7      195.0     1.84 %
"""


def test_golden() -> None:
    assert "\n".join(lines_of(with_command(switched()))) + "\n" == GOLDEN


def test_the_blocks_stand_between_servers_and_client() -> None:
    found = closing_text(summarize(switched())).splitlines()
    starts = [line.split()[0] for line in found]
    assert starts.index("server") < starts.index("switch") < starts.index("client")
    assert not any("switched once" in line for line in found)


def test_without_a_command_moments_count_from_the_onset() -> None:
    assert lines_of(switched())[1] == "  onset +0.000   decided +0.330   last worker +0.330"


@pytest.mark.parametrize(
    ("seen_ns", "words"),
    [
        ([5_400 * MS, None], "last worker +0.400 (1 of 2 saw it)"),
        ([None, None], "decided +0.330   no worker saw it"),
    ],
)
def test_workers_that_never_saw_it(seen_ns: list[int | None], words: str) -> None:
    run = switched()
    run.switches[0].t_seen_ns = seen_ns
    assert lines_of(run)[1].endswith(words)


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        (
            {"rule": "hard-down", "n": 552, "x": 552},
            "switch A -> B  hard-down, 552 of 552 in a row            +5.330 s  03:04:11.008Z",
            "  onset",
        ),
        (
            {},
            "switch A -> B  rate, 312 of 4980 (limit 5 %, bound 295)  +5.330 s  03:04:11.008Z",
            "  onset",
        ),
        (
            {"rule": "plain", "n": 10_000, "x": 503, "bound": 500.0},
            "switch A -> B  plain                                     +5.330 s  03:04:11.008Z",
            "  503 of 10000 (limit 5 %, bound 500)",
        ),
    ],
)
def test_the_rule_and_its_figures(changes: dict[str, Any], first: str, second: str) -> None:
    found = lines_of(by_rate(switched(), **changes))
    assert found[0] == first
    assert found[1].startswith(second)


def test_without_an_slo_no_limit_and_no_window() -> None:
    run = by_rate(switched(slo_ns=None))
    found = "\n".join(lines_of(run))
    assert "rate, 312 of 4980 (bound 295)" in found
    assert "full window" not in found


@pytest.mark.parametrize("started", ["", "yesterday", "9999-12-31T23:59:59.999Z"])
def test_a_start_that_is_no_time(started: str) -> None:
    run = switched()
    run.started_utc = started
    assert lines_of(run)[0].endswith("  +5.330 s")


def test_recovery_is_told_or_that_none_came() -> None:
    assert "full window within the SLO after 5.3" in "\n".join(lines_of(switched()))
    found = "\n".join(lines_of(switched(duration_ns=9 * S)))
    assert "the run ended before a full window" in found


@pytest.mark.parametrize("count", [5, 6, 9])
def test_many_switches_are_cut_short(count: int) -> None:
    found = lines_of(switched(count))
    heads = [line for line in found if line.startswith("switch ")]
    if count == 5:
        assert len(heads) == 5
        return
    assert len(heads) == 4
    assert f"+{4 + count}.330 s" in heads[-1]
    (index,) = (n for n, line in enumerate(found) if "more switches" in line)
    assert found[index] == f"  ... {count - 4} more switches, in summary.json"
    assert found[index + 1] == heads[-1]


def hung(seconds: float, **changes: Any) -> RunData:
    """A run without a switch, in which nothing is answered for some time from second 1 on."""
    failure = Failure(S, S + int(seconds * S), 0)
    run = synthetic_run(
        **{"rate": 200.0, "duration_ns": 8 * S, "failures": (failure,), "workers": 1, **changes}
    )
    run.switches = []
    return run


def test_an_outage_without_a_switch() -> None:
    found = lines_of(hung(0.5))
    assert found == [
        "outage     0.505 s without an in-SLO answer, from +1.014 s",
        "           failed in it: 110 error or timeout",
        "           full window within the SLO after 5.536 s",
    ]


@pytest.mark.parametrize(
    ("seconds", "changes"),
    [
        (0.1, {}),
        (0.5, {"config": {"switching": {"stall_tolerance_ns": S}}}),
        (0.5, {"rate": 5.0, "dist": "constant"}),  # five mean gaps are 1 s
    ],
)
def test_a_short_one_is_not_told(seconds: float, changes: dict[str, Any]) -> None:
    assert lines_of(hung(seconds, **changes)) == []


def test_a_longer_outage_beside_a_switch_is_told_too() -> None:
    run = switched(2)
    run.switches = run.switches[:1]
    run.tally.answers[20:40] = -1
    outage = [line for line in lines_of(run) if line.startswith("outage ")]
    assert outage == ["outage     1.006 s without an in-SLO answer, from +0.995 s"]


def test_a_silence_in_which_nothing_failed_is_not_told() -> None:
    run = synthetic_run(rate=200.0, duration_ns=4 * S)
    run.tally.answers[20:40] = -1
    (outage,) = summarize(run).outages
    assert (outage.duration_ns > S, outage.failed) == (True, 0)
    assert lines_of(run) == []


@pytest.mark.parametrize(
    ("slow", "words"),
    [
        (0, "failed in it: 74 = 73 error or timeout + 1 dropped, cancelled or lost"),
        (2, "failed in it: 74 = 71 error or timeout + 2 slow + 1 dropped, cancelled or lost"),
    ],
)
def test_what_failed_is_split_where_there_is_more_than_one_kind(slow: int, words: str) -> None:
    run = switched(mix={Outcome.OK: 8, Outcome.DROPPED: 1})
    run.tally.buckets[0, 102, BUCKET_FIELDS.index("errors")] -= slow
    run.tally.buckets[0, 102, BUCKET_FIELDS.index("ok")] += slow
    assert f"  {words}" in lines_of(run)


def test_a_phrase_longer_than_a_line_is_broken() -> None:
    run = switched()
    run.tally.buckets[0, 102] += np.array([4 * 10**12, 4 * 10**12, 10**12, 10**12, 0])
    found = lines_of(run)
    assert max(map(len, found)) <= WIDTH
    assert "error or timeout + 1000000000000 slow + 2000000000000 dropped, cancelled or lost" in (
        " ".join(" ".join(found).split())
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 10**12, "x": 10**12},
        {"rule": "rate", "n": 10**12, "x": 10**12, "bound": 1e12},
        {"rule": "r\x1b[31m" * 20},
        {"t_seen_ns": [10**15] * 2},
    ],
)
def test_plain_text_within_80_columns(changes: dict[str, Any]) -> None:
    run = switched(3, urls=tuple(f"{'x' * 200}{n}:8001" for n in range(30)))
    for name, value in changes.items():
        setattr(run.switches[0], name, value)
    found = lines_of(with_command(run))
    assert max(map(len, found)) <= WIDTH
    assert "\n".join(found).isascii()
    assert all(line.isprintable() and not line.endswith(" ") for line in found)


def test_a_server_the_file_does_not_list_is_refused() -> None:
    content = summarize(switched()).model_dump(by_alias=True)
    content["switches"][0]["to"] = "gpu9:1"
    with pytest.raises(ValidationError, match="a switch names a server that is not there"):
        Summary.model_validate(content)
