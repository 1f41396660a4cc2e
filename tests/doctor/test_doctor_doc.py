"""docs/doctor.md says what the code does: its rows and its limits."""

from pathlib import Path

from harness.doctor import judgement, search
from harness.doctor.examination import USUAL
from harness.doctor.judgement import judge
from harness.load.cpus import RATE_PER_WORKER
from tests.doctor.made_up import GOOD

DOC = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")


def test_every_row_and_its_limit() -> None:
    lines = [line.strip("|").split("|") for line in DOC.splitlines() if line.startswith("| ")]
    table = {cells[0].strip(): cells[2] for cells in lines[1:]}
    limits = {
        "clock source": f"over {judgement.CLOCK_READ_LIMIT_NS:.0f} ns",
        "steal": f"over {100 * judgement.LOST_SHARE_LIMIT:g} %",
        "wake-up error": f"over {judgement.WAKEUP_LIMIT_NS // 1000} us",
        "spin gaps": f"over {judgement.GAP_LIMIT_US / 1000:.0f} ms",
        "path floor": f"over {judgement.PATH_LIMIT_NS // 10**6} ms",
        "highest rate": f"under {RATE_PER_WORKER}/s",
        "lateness": f"over {judgement.LATENESS_FLOOR_NS // 1000} us",
    }
    assert list(table) == [row.name for row in judge(GOOD)]
    for name, limit in limits.items():
        assert limit in table[name]


def test_the_search() -> None:
    assert f"From {search.FIRST_RATE:.0f}/s" in DOC
    assert f"down to {search.LOWEST_RATE:.0f}/s" in DOC
    assert f"within {100 * (search.CLOSE_ENOUGH - 1):.0f} %, or {USUAL.search_s:g} s" in DOC
    assert f"a run of {USUAL.trial_s:g} s was valid" in DOC
    assert f"in {USUAL.gaps_s:g} s" in DOC
