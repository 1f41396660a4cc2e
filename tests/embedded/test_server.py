"""The embedded server's process and its options."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from harness.embedded.model import ModelSpec, TensorSpec
from harness.embedded.server import (
    EmbeddedServer,
    ServeConfig,
    main,
    parse_arguments,
    parse_latency,
)
from harness.errors import NotStartedError, UsageError
from tests.embedded.asking import VALUES, client, tensor
from tests.h2wire import (
    Wire,
)


def gone(pid, within_s=5.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script", ["", "0s: hang"])
def test_signals_end_it_cleanly_and_quickly(number, script):
    with EmbeddedServer(ServeConfig(script=script)) as running, Wire(running.url) as wire:
        wire.send(wire.request(1))
        if not script:
            wire.until_end_of(1)
        process = running.process
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - start < 2


def test_it_dies_with_its_parent():
    code = (
        "import sys, time\n"
        "from harness.embedded.server import EmbeddedServer\n"
        "with EmbeddedServer() as server:\n"
        "    print(server.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_stop_ends_a_stopped_server_too():
    running = EmbeddedServer()
    running.start()
    pid = running.pid
    os.kill(pid, signal.SIGSTOP)
    assert running.stop(timeout_s=0.2) == -signal.SIGKILL
    assert running.stop() is None
    assert gone(pid)
    with pytest.raises(NotStartedError):
        assert running.pid


def test_a_port_in_use_is_said(server):
    port = int(server.url.split(":")[1])
    with (
        pytest.raises(NotStartedError, match=r"Address already in use"),
        EmbeddedServer(ServeConfig(port=port)),
    ):
        pass


def test_a_journal_that_cannot_be_is_said(tmp_path):
    with (
        pytest.raises(NotStartedError, match="No such file"),
        EmbeddedServer(ServeConfig(journal=str(tmp_path / "none" / "journal"))),
    ):
        pass


def test_spin_and_cpu():
    with EmbeddedServer(ServeConfig(spin=True, cpu=0)) as running:
        assert psutil.Process(running.pid).cpu_affinity() == [0]
        client(running).infer("identity", [tensor(VALUES)])


def test_ipv6():
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", 9)) not in (0, errno.ECONNREFUSED):
            with pytest.raises(NotStartedError), EmbeddedServer(ServeConfig(host="::1")):
                pass
            return
    with EmbeddedServer(ServeConfig(host="::1")) as running:
        assert running.url.startswith("[::1]:")
        assert client(running).is_server_live()


def test_an_idle_server_imports_no_grpc():
    code = (
        "import sys, harness.embedded.server; print('grpc' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_threads_share_a_server(server):
    failures = []

    def work():
        try:
            for _ in range(20):
                client(server).infer("identity", [tensor(VALUES)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--latency=fast"], "'fast'"),
        (["--latency=lognormal:5ms"], "lognormal"),
        (["--latency=lognormal:5ms,1ms"], "p50 <= p99"),
        (["--script=1s: explode"], "'explode'"),
        (["--port=70000"], "70000"),
        (["--port=x"], "'x'"),
        (["--capacity=-1"], "-1"),
        (["--cpu=4096"], "4096"),
        (["--input=INPUT0"], "NAME:DATATYPE:DIMS"),
        (["--max-request-bytes=1"], "max-request-bytes 1"),
        (["--bogus"], "--bogus"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(options, part, capsys):
    assert main(options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("harness serve: ")
    assert part in error


def test_a_configuration_travels_by_argv():
    config = ServeConfig(
        host="::1",
        port=99,
        model=ModelSpec(
            "m", (TensorSpec("a", "INT8", (-1, 2)),), (TensorSpec("b", "BYTES", ()),), 3
        ),
        latency="lognormal:1ms,2ms",
        capacity=4,
        seed=9,
        script="1s: hang; 2s: ok",
        journal="/tmp/x y",
        cpu=0,
        spin=True,
        max_request_bytes=2048,
        max_connections=7,
    )
    assert parse_arguments(config.argv()) == (config, None)
    assert parse_arguments([*ServeConfig().argv(), "--parent=5"]) == (ServeConfig(), 5)


def test_latencies():
    assert parse_latency("20ms") == (20_000_000, 0.0, -1.0)
    fixed_ns, mu, sigma = parse_latency("lognormal:1ms,1ms")
    assert (fixed_ns, sigma) == (0, 0)
    assert mu == pytest.approx(np.log(1e6))
    with pytest.raises(UsageError):
        parse_latency("lognormal:0,5ms")
