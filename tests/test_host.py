import json
import os

import pytest

from harness import host

MIB = 2**20


@pytest.fixture
def make(tmp_path):
    """Writes files under a root of their own and gives it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


V2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    "proc/meminfo": f"MemTotal: {8192 * 1024} kB\nMemAvailable: {4096 * 1024} kB\n",
}

V1 = {
    "proc/self/cgroup": "4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n0::/\n",
    "proc/self/mountinfo": (
        "31 20 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 20 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    ),
    "proc/meminfo": V2["proc/meminfo"],
}


def test_this_host():
    facts = host.host_facts()
    json.dumps(facts)
    assert facts["cpus_allowed"] == sorted(os.sched_getaffinity(0))
    assert facts["memory_total_bytes"] > facts["memory_available_bytes"] > MIB
    assert facts["kernel"]
    assert facts["python"].startswith("3.")


def test_nothing_known(tmp_path):
    facts = host.host_facts(tmp_path)
    for name in ("cpu_model", "cpu_quota", "memory_limit_bytes", "memory_available_bytes",
                 "governor", "clock_source", "hypervisor", "cpus_isolated", "cores"):  # fmt: skip
        assert facts[name] is None


def test_named_facts(make):
    root = make(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: A: CPU\nflags\t\t: fpu hypervisor\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
            "sys/devices/system/cpu/isolated": "2-3\n",
        }
    )
    facts = host.host_facts(root)
    assert facts["cpu_model"] == "A: CPU"
    assert facts["hypervisor"] is True
    assert (facts["governor"], facts["clock_source"]) == ("performance", "tsc")
    assert facts["cpus_isolated"] == [2, 3]


@pytest.mark.parametrize(
    ("places", "cores"),
    [
        ([(0, 0), (0, 1), (0, 0), (0, 1)], 2),  # two threads each
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 4),  # two sockets
        ([], None),
    ],
)
def test_physical_cores(make, places, cores):
    text = "".join(
        f"processor\t: {cpu}\nphysical id\t: {place[0]}\ncore id\t\t: {place[1]}\n\n"
        for cpu, place in enumerate(places)
    )
    assert host.host_facts(make({"proc/cpuinfo": text or "processor\t: 0\n"}))["cores"] == cores


def test_cgroup_v2_takes_the_tightest_of_its_parents(make):
    root = make(
        V2
        | {
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/a/memory.max": f"{1024 * MIB}\n",
            "sys/fs/cgroup/a/memory.current": f"{600 * MIB}\n",
            "sys/fs/cgroup/a/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
            "sys/fs/cgroup/a/b/memory.max": f"{2048 * MIB}\n",
            "sys/fs/cgroup/a/b/memory.current": "0\n",
        }
    )
    assert host.cpu_quota(root) == 1.5
    assert host.memory_limit_bytes(root) == 1024 * MIB
    assert host.memory_available_bytes(root) == (1024 - 600 + 100) * MIB


def test_cgroup_v2_without_limits(make):
    limits = {"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}
    root = make(V2 | limits)
    assert host.cpu_quota(root) is None
    assert host.memory_limit_bytes(root) is None
    assert host.memory_available_bytes(root) == 4096 * MIB


def test_cgroup_v1(make):
    root = make(
        V1
        | {
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{512 * MIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{500 * MIB}\n",
            "sys/fs/cgroup/memory/memory.stat": f"total_inactive_file {300 * MIB}\n",
        }
    )
    assert host.cpu_quota(root) == 2.0
    assert host.memory_limit_bytes(root) == 512 * MIB
    assert host.memory_available_bytes(root) == 312 * MIB


def test_cgroup_v1_unlimited(make):
    root = make(V1 | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert host.memory_limit_bytes(root) is None


def test_the_thread_comes_back_to_its_cpus():
    before = os.sched_getaffinity(0)
    one = min(before)
    with host.on_cpus([one]):
        assert os.sched_getaffinity(0) == {one}
    assert os.sched_getaffinity(0) == before
    with host.on_cpus(None):
        assert os.sched_getaffinity(0) == before
