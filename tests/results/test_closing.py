"""The closing text: golden cases, 80 columns, and nothing in it that could move a cursor."""

from typing import Any

import pytest

from harness.config import NS_PER_MS
from harness.records import Outcome
from harness.results.books import check_books
from harness.results.closing import closing_text
from harness.results.findings import judge
from harness.results.lines import WIDTH
from harness.results.rundata import RunData
from harness.results.summarize import build_summary
from harness.results.summary import Summary
from tests.synthetic import synthetic_run

MIXED: dict[str, Any] = {
    "urls": ("gpu1:8001", "gpu2.rack7.dc-west.example.com:8001"),
    "mix": {Outcome.OK: 9, Outcome.TIMEOUT: 1, Outcome.ERROR: 1, Outcome.DROPPED: 1},
    "client_drops": True,
    "cut_ns": 900 * NS_PER_MS,
    "dead_workers": frozenset({1}),
    "slo_ns": 10 * NS_PER_MS,
    "lateness_ns": 2 * NS_PER_MS,
}


def summarize(run: RunData) -> Summary:
    return build_summary(run, judge(run, check_books(run)))


def text(**changes: Any) -> str:
    return closing_text(summarize(synthetic_run(**changes)), "runs/x-identity")


GOOD = """\
harness bench  identity   poisson 200/s   1 s   seed 1   plan b2b83109
VALID      SLO HELD: 0.00 % violated of 195 (50ms allows 5 %)
requests/s   offered     sent       ok   in SLO  dropped   in flight max / cap
               195.0    195.0    191.0    191.0      0.0              10 / 110
violations 0 = 0 timeout + 0 error + 0 slow + 0 dropped
latency ms        p50      p90      p95      p99        p99.9       max
response *      7.641    15.61    18.75    24.63        25.08     25.08
response, ok    7.641    15.61    18.75    24.63        25.08     25.08
service (ok)    7.621     15.6    18.75    24.62        25.03     25.03
lateness       0.0134   0.0487     0.06    0.088        0.117     0.117
send delay     0.0191    0.063   0.0823   0.1139       0.1615    0.1615
* from the planned time, every scheduled slot; no OK answer = >10 s
server                   sent       ok   in SLO violated    queue  compute batch
A gpu1:8001               195      195      195   0.00 %   1.2 ms   6.0 ms   2.0
client  2 workers, CPU 2-3, 31 % busy, 1 connection each, path 0.11 ms:
        NOT LIMITING
results    runs/x-identity
"""

BAD = """\
harness bench  identity   poisson 200/s   1 s   seed 1   plan b2b83109
INVALID    SLO BROKEN: 56.82 % violated of 132 (10ms allows 5 %)
           1 of 2 workers did not finish: 1 (pid 1001) died
           -> look for the kernel's out-of-memory killer and for signals sent to
           them
           the client was late: p99 lateness 10.3 ms, more than 1.456 ms
           -> give it idle CPUs (--cpus), more --workers, or a lower --rate
           the client came late to 6 of 175 slots (6 of them dropped), more than
           1 %
           -> give it idle CPUs (--cpus), more --workers, or a lower --rate
           interrupted by SIGINT at 0.900 s: 175 of 195 planned slots
           -> run again and let it end
requests/s   offered     sent       ok   in SLO  dropped   in flight max / cap
               194.4    153.3    106.7     63.3      8.9              10 / 110
violations 75 = 8 timeout + 14 error + 39 slow + 2 dropped + 12 lost
undecided  6 dropped by the client, 29 unsent, 8 lost
latency ms        p50      p90      p95      p99        p99.9       max
response *      14.56    >10 s    >10 s    >10 s        >10 s     >10 s
response, ok    9.114    14.73    19.08    29.75        29.75     29.75
service (ok)    7.592    12.98    17.18    28.45        28.45     28.45
lateness        1.256    5.569    6.486     10.3        10.77     10.77
send delay     0.0231   0.0715    0.086   0.1139       0.1959    0.1959
* from the planned time, every scheduled slot; no OK answer = >10 s
server                   sent       ok   in SLO violated    queue  compute batch
A gpu1:8001                67       50       31  50.79 %   1.2 ms   6.0 ms   2.0
B gpu2.rack7.dc-west.example.com:8001
                           71       46       26  62.32 %   1.2 ms   6.0 ms   2.0
finding    rate not reached: 2 slots dropped after waiting at the cap of 110
           requests in flight a server
finding    gpu1:8001: errors: 5 UNAVAILABLE
finding    gpu2.rack7.dc-west.example.com:8001: errors: 9 UNAVAILABLE
client  2 workers, CPU 2-3, 34 % busy, 1 connection each, path 0.11 ms: LIMITING
results    runs/x-identity
"""


CLOSED = """\
harness bench  identity   closed loop, 4 in flight   1 s   seed 1
VALID      no SLO given (--slo 50ms)
requests/s   offered     sent       ok   in SLO  dropped   in flight max / cap
               159.0    159.0    156.0        -      0.0              10 / 110
violations 0 = 0 timeout + 0 error + 0 slow + 0 dropped
latency ms        p50      p90      p95      p99        p99.9       max
response *       7.85    13.77    16.63    24.62        28.45     28.45
response, ok     7.85    13.77    16.63    24.62        28.45     28.45
send delay     0.0232    0.078   0.1024   0.1615       0.2174    0.2174
* every slot; no OK answer = >60 s
server                   sent       ok   in SLO violated    queue  compute batch
A gpu1:8001               159      159        -   0.00 %   1.2 ms   6.0 ms   2.0
client  2 workers, CPU 2-3, 31 % busy, 1 connection each, path 0.11 ms:
        NOT LIMITING
results    runs/x-identity
"""


def test_golden_closed_loop() -> None:
    assert text(concurrency=4, slo_ns=None) == CLOSED


def test_golden_good() -> None:
    assert text() == GOOD


def test_golden_bad() -> None:
    assert text(**MIXED) == BAD


@pytest.mark.parametrize(
    "changes",
    [
        {},
        MIXED,
        {"slo_ns": None},
        {"rows": False},
        {"cut_ns": 0},
        {"mix": {Outcome.ERROR: 1}},
        {"mix": {Outcome.TIMEOUT: 1}},
        {"mix": {Outcome.DROPPED: 1}, "client_drops": True},
        {"urls": tuple(f"gpu{n}:8001" for n in range(30))},
        {"urls": (f"{'x' * 240}:8001",)},
        {"rate": 20_000.0, "workers": 16, "median_ns": 40_000_000_000, "rows": False},
        {"config": {"model": "m" * 500, "model_version": "9" * 50}},
    ],
)
def test_plain_text_within_80_columns(changes: dict[str, Any]) -> None:
    found = text(**changes)
    assert found.endswith("\n")
    assert found.isascii()
    assert max(map(len, found.splitlines())) <= WIDTH
    assert not any(line.endswith(" ") for line in found.splitlines())


def test_hostile_names_are_stripped() -> None:
    run = synthetic_run(
        config={"model": "\x1b[2Jidentity\u202egnp\x07\r\n"}, mix={Outcome.ERROR: 1}
    )
    run.servers[0]["url"] = "gpu1\x1b]0;owned\x07\u2066\n:8001"
    found = closing_text(summarize(run), "runs/\x1b[31mx")
    assert found.replace("\n", "").isprintable()
    assert "gpu1]0;owned :8001" in found
    assert "[2Jidentitygnp" in found


def test_only_used_servers_have_a_row_and_standbys_are_named() -> None:
    run = synthetic_run(urls=("a:1", "b:1", "c:1"), rows=False)
    for array in (run.tally.counts, run.tally.buckets, run.tally.statuses, run.tally.reasons):
        array[0] += array[1] + array[2]
        array[1:3] = 0
    lines = closing_text(summarize(run)).splitlines()
    rows = [line for line in lines if line.startswith(("A ", "B ", "C "))]
    assert len(rows) == 1
    assert rows[0].startswith("A a:1")
    assert "standby    B b:1, C c:1" in lines


def test_percentiles_without_an_answer_read_over_the_timeout() -> None:
    found = text(
        mix={Outcome.OK: 8, Outcome.TIMEOUT: 2}, config={"request_timeout_ns": 1500 * 10**6}
    )
    row = next(line for line in found.splitlines() if line.startswith("response *"))
    assert row.count(">1.5 s") == 5
    ok = next(line for line in found.splitlines() if line.startswith("response, ok"))
    assert ">" not in ok


def test_statistics_that_are_not_there_are_dashes() -> None:
    run = synthetic_run()
    run.stats_after[0] = None
    row = next(line for line in closing_text(summarize(run)).splitlines() if line[:2] == "A ")
    assert row.split()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("spin", "cpu_s", "words"),
    [
        (False, 0.31, "31 % busy, 1 connection each, path 0.11 ms: NOT LIMITING"),
        (False, 0.95, "95 % busy, 1 connection each, path 0.11 ms: LIMITING"),
        (True, 0.99, "99 % busy (spins), 1 connection each, path 0.11 ms: NOT LIMITING"),
        (False, None, "CPU 2-3, 1 connection each, path 0.11 ms: NOT LIMITING"),
    ],
)
def test_client_line(spin: bool, cpu_s: float | None, words: str) -> None:
    run = synthetic_run()
    run.spin = spin
    for worker in run.workers:
        worker.cpu_s = cpu_s
    assert words in " ".join(closing_text(summarize(run)).split())


def test_a_late_client_is_limiting() -> None:
    assert text(lateness_ns=3_000_000).rstrip().splitlines()[-2].endswith(": LIMITING")


def test_nothing_decided() -> None:
    assert "SLO: nothing was decided (50ms allows 5 %)" in text(cut_ns=0, rate=0.5)
