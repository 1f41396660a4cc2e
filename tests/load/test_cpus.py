import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.load.cpus import cpu_list, plan_cpus
from harness.units import parse_cpus

FOUR = range(4)


@pytest.mark.parametrize(
    ("arguments", "workers", "worker_cpus", "coordinator_cpus", "spin"),
    [
        ({"allowed": FOUR, "rate": 100}, 1, (3,), (0, 1, 2), False),
        ({"allowed": FOUR, "rate": 20_000}, 1, (3,), (0, 1, 2), True),
        ({"allowed": FOUR, "rate": 20_001}, 2, (2, 3), (0, 1), True),
        ({"allowed": FOUR, "rate": 1e6}, 2, (2, 3), (0, 1), True),
        ({"allowed": range(16), "rate": 1e5}, 5, (11, 12, 13, 14, 15), tuple(range(11)), True),
        ({"allowed": (2, 5, 9), "rate": 1e5}, 1, (9,), (2, 5), True),
        ({"allowed": (0, 1), "rate": 1e5}, 1, (1,), (0,), True),
        ({"allowed": (7,), "rate": 1e5}, 1, (7,), (7,), False),
        ({"allowed": (7,), "rate": 1e5, "workers": 2}, 2, (7, 7), (7,), False),
        ({"allowed": (0, 1), "rate": 1e5, "workers": 2}, 2, (1, 1), (0,), False),
        ({"allowed": FOUR, "rate": 1e5, "workers": 3}, 3, (1, 2, 3), (0,), True),
        ({"allowed": FOUR, "rate": 14_999, "workers": 3}, 3, (1, 2, 3), (0,), False),
        ({"allowed": FOUR, "rate": 1e5, "workers": 4}, 4, (1, 2, 3, 1), (0,), False),
        ({"allowed": range(8), "rate": 1e5, "quota": 2.5}, 2, (6, 7), tuple(range(6)), False),
        ({"allowed": range(8), "rate": 1e5, "quota": 0.5}, 1, (7,), tuple(range(7)), False),
        ({"allowed": FOUR, "rate": 1e5, "cpus_option": (0, 1)}, 2, (0, 1), (2, 3), True),
        ({"allowed": FOUR, "rate": 1e4, "cpus_option": (1, 0)}, 1, (1,), (0, 2, 3), True),
        ({"allowed": FOUR, "rate": 1e5, "cpus_option": FOUR}, 4, (0, 1, 2, 3), tuple(FOUR), False),
        ({"allowed": range(8), "rate": 1e5, "max_inflight": 1}, 1, (7,), tuple(range(7)), True),
        ({"allowed": FOUR, "rate": None, "max_inflight": 64}, 1, (3,), (0, 1, 2), False),
        ({"allowed": FOUR, "rate": None, "max_inflight": 65}, 2, (2, 3), (0, 1), False),
        ({"allowed": FOUR, "rate": None, "max_inflight": 9999}, 2, (2, 3), (0, 1), False),
        (
            {"allowed": FOUR, "rate": None, "max_inflight": 1, "spin": "always"},
            1,
            (3,),
            (0, 1, 2),
            True,
        ),
        (
            {"allowed": FOUR, "rate": None, "max_inflight": 7, "workers": 3},
            3,
            (1, 2, 3),
            (0,),
            False,
        ),
        ({"allowed": FOUR, "rate": 100, "spin": "always"}, 1, (3,), (0, 1, 2), True),
        ({"allowed": FOUR, "rate": 1e5, "spin": "never"}, 2, (2, 3), (0, 1), False),
    ],
)
def test_plans(arguments, workers, worker_cpus, coordinator_cpus, spin):
    plan = plan_cpus(**{"quota": None} | arguments)
    assert plan.workers == workers
    assert plan.worker_cpus == worker_cpus
    assert plan.coordinator_cpus == coordinator_cpus
    assert plan.spin == spin
    assert plan.reason.startswith("spinning: " if spin else "sleeping: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cpus_option": (2, 9, 10, 11)}, "CPUs 9-11 cannot be used here; allowed: 0-3"),
        ({"cpus_option": (4,)}, "CPU 4 cannot be used"),
        ({"cpus_option": ()}, "names no CPU"),
        ({"workers": 3, "max_inflight": 2}, "3 workers cannot share 2 in flight"),
        ({"workers": 0}, "0 workers"),
        ({"workers": 2000}, "2000 workers"),
        ({"rate": 2e6 + 1, "workers": 2}, "the most is 1000000/s a worker, and there are 2"),
    ],
)
def test_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        plan_cpus(**{"allowed": FOUR, "quota": None, "rate": 1e5} | arguments)


@given(
    st.sets(st.integers(0, 200), min_size=1),
    st.none() | st.floats(0.01, 300),
    st.floats(0.1, 1e6),
    st.none() | st.integers(1, 64),
    st.sampled_from(["auto", "always", "never"]),
)
def test_every_plan_holds_the_rules(allowed, quota, rate, workers, spin):
    plan = plan_cpus(allowed, quota, rate, workers, None, spin)
    assert plan.workers == workers or workers is None
    assert len(plan.worker_cpus) == plan.workers
    assert set(plan.worker_cpus) | set(plan.coordinator_cpus) == allowed
    apart = not set(plan.worker_cpus) & set(plan.coordinator_cpus)
    assert apart or len(allowed) == 1
    if workers is None:
        assert plan.workers <= max(1, len(allowed) // 2)
        assert plan.workers <= max(1, math.floor(quota or math.inf) if quota else 10**9)
        assert len(set(plan.worker_cpus)) == plan.workers
    if spin == "auto" and plan.spin:
        assert apart
        assert quota is None
        assert len(set(plan.worker_cpus)) == plan.workers
        assert rate / plan.workers >= 5000


@given(st.sets(st.integers(0, 300), min_size=1))
def test_cpu_list_reads_back(cpus):
    assert set(parse_cpus(cpu_list(cpus))) == cpus
