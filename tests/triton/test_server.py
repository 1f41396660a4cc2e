"""The real server: answers, stops, dies and leaves nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient

from harness.errors import NotStartedError
from harness.triton.server import TritonServer
from tests.runs import alive

VALUES = np.arange(1, 17, dtype=np.float32)
PARENT = """
import json, sys
from pathlib import Path
from harness.triton.provision import TritonInstallation
from harness.triton.server import TritonServer
server = TritonServer(sys.argv[1], installation=TritonInstallation(**json.loads(sys.argv[2])))
server.__enter__()
print(json.dumps([server.pid, server.server_id]), flush=True)
sys.stdin.read()
"""


def infer(server, model, values=VALUES, timeout_s=5.0):
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        tensor = grpcclient.InferInput("INPUT0", list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        answer = client.infer(model, [tensor], client_timeout=timeout_s, request_id="a1")
        assert answer.get_response().id == "a1"
        return answer.as_numpy("OUTPUT0")


def family(pid):
    """The server and its stubs."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def stopped(processes):
    return [process.status() == psutil.STATUS_STOPPED for process in processes]


def all_gone(processes):
    return not any(alive(process) for process in processes)


@pytest.mark.parametrize("model", ["identity", "identity_cached", "identity_dynamic", "delayed"])
def test_echoes_its_input(triton, model):
    np.testing.assert_array_equal(infer(triton, model), VALUES)


def test_takes_any_length_with_a_dynamic_shape(triton):
    values = np.arange(1000, dtype=np.float32)
    np.testing.assert_array_equal(infer(triton, "identity_dynamic", values), values)


def test_caches_answers_where_the_model_says_so(triton):
    for _ in range(3):
        infer(triton, "identity_cached", VALUES + 7)
    with grpcclient.InferenceServerClient(triton.grpc_url) as client:
        stats = client.get_inference_statistics("identity_cached").model_stats[0].inference_stats
    assert stats.cache_hit.count >= 2


def test_delays_by_its_parameter_and_by_its_file(model_repository, triton_installation):
    repository = model_repository("delayed")
    with TritonServer(repository, installation=triton_installation) as server:
        infer(server, "delayed")
        started = time.monotonic()
        infer(server, "delayed")
        assert time.monotonic() - started >= 0.020
        (repository / "delayed" / "delay_ms").write_text("300")
        started = time.monotonic()
        infer(server, "delayed")
        assert time.monotonic() - started >= 0.300


def test_all_three_services_are_its_own(triton):
    for address in (triton.grpc_url, triton.http_url):
        host, port = address.split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    assert triton.metrics_url.startswith("http://127.0.0.1:")
    assert triton.running
    assert psutil.Process(triton.pid).name() == "tritonserver"


def test_stop_leaves_no_process_and_no_segment(
    model_repository, triton_installation, shared_memory_names
):
    server = TritonServer(model_repository("identity"), installation=triton_installation)
    with server:
        processes = family(server.pid)
        assert len(processes) == 2
        assert shared_memory_names(server.server_id)
    assert all_gone(processes)
    assert not shared_memory_names(server.server_id)
    assert not server.running


def test_kill_leaves_nothing_and_the_ports_can_be_used_again(
    model_repository, triton_installation, shared_memory_names
):
    repository = model_repository("identity")
    with TritonServer(repository, installation=triton_installation) as server:
        processes = family(server.pid)
        server.kill()
        assert all_gone(processes)
        assert not shared_memory_names(server.server_id)
        ports = server.ports
    with TritonServer(repository, installation=triton_installation, ports=ports) as server:
        assert server.ports == ports
        np.testing.assert_array_equal(infer(server, "identity"), VALUES)


@pytest.mark.parametrize("victim", ["parent", "keeper"])
def test_nothing_is_left_after_sigkill(
    victim, model_repository, triton_installation, shared_memory_names, wait_until
):
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PARENT,
            str(model_repository("identity", "delayed")),
            json.dumps(vars(triton_installation)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        pid, server_id = json.loads(parent.stdout.readline())
        processes = family(pid)
        assert len(processes) == 10
        keeper = psutil.Process(pid).parent()
        assert keeper.ppid() == parent.pid
        os.kill(parent.pid if victim == "parent" else keeper.pid, signal.SIGKILL)
        # Without the keeper the stubs find out by themselves, about once a second.
        timeout_s = 1.0 if victim == "parent" else 5.0
        wait_until(
            lambda: all_gone([*processes, keeper]) and not shared_memory_names(server_id),
            timeout_s,
            "no process and no segment",
        )
    finally:
        parent.kill()
        parent.communicate()


def test_a_paused_server_is_mute_answers_again_and_can_be_stopped(
    model_repository, triton_installation, wait_until
):
    with TritonServer(model_repository("identity"), installation=triton_installation) as server:
        server.pause()
        wait_until(lambda: stopped(family(server.pid)) == [True, True])
        assert server.running
        with pytest.raises(Exception, match="Deadline"):
            infer(server, "identity", timeout_s=0.3)
        server.resume()
        np.testing.assert_array_equal(infer(server, "identity"), VALUES)
        server.pause(stubs=False)
        processes = family(server.pid)
        wait_until(lambda: stopped(processes) == [True, False])
        server.stop()
        assert all_gone(processes)


def test_pins_limits_and_logs(model_repository, triton_installation, tmp_path):
    cpu = min(os.sched_getaffinity(0))
    log = tmp_path / "triton.log"
    with TritonServer(
        model_repository("identity"),
        installation=triton_installation,
        cpus=[cpu],
        address_space_bytes=8 << 30,
        log=log,
    ) as server:
        for process in family(server.pid):
            assert process.cpu_affinity() == [cpu]
            assert process.rlimit(psutil.RLIMIT_AS) == (8 << 30, 8 << 30)
        assert "successfully loaded 'identity'" in log.read_text()
        assert log.stat().st_mode & 0o777 == 0o600


def test_a_model_that_does_not_load_is_named(model_repository, triton_installation):
    repository = model_repository("identity")
    (repository / "identity" / "1" / "model.py").write_text("raise RuntimeError('no weights')")
    with (
        pytest.raises(NotStartedError, match="no weights") as caught,
        TritonServer(repository, installation=triton_installation),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_taken_ports_are_an_error_not_another_servers_answer(
    triton, model_repository, triton_installation
):
    with (
        pytest.raises(NotStartedError, match="already in use"),
        TritonServer(
            model_repository("identity"), installation=triton_installation, ports=triton.ports
        ),
    ):
        pass


def test_not_ready_in_time_leaves_nothing(
    model_repository, triton_installation, shared_memory_names
):
    server = TritonServer(
        model_repository("delayed"), installation=triton_installation, ready_timeout_s=0.3
    )
    with pytest.raises(NotStartedError, match=r"not ready after 0\.\d s"), server:
        pass
    assert not psutil.pid_exists(server.pid)
    assert not shared_memory_names(server.server_id)


def test_no_repository_and_no_installation_are_said(tmp_path, monkeypatch, triton_installation):
    with pytest.raises(NotStartedError, match="no model repository"):
        TritonServer(tmp_path / "none", installation=triton_installation).start()
    monkeypatch.setenv("HARNESS_TRITON_DIR", str(tmp_path / "empty"))
    with pytest.raises(NotStartedError, match=r"python -m harness\.triton\.provision"):
        TritonServer(tmp_path).start()


def test_a_server_that_was_not_started_cannot_be_paused(tmp_path: Path):
    with pytest.raises(NotStartedError, match="does not run"):
        TritonServer(tmp_path).pause()
