import os
import signal
import stat
import time

import numpy as np
import psutil
import pytest

from harness.embedded.journal import JOURNAL, read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import UsageError
from tests.h2wire import Wire, infer_message


def send(url, ids):
    with Wire(url) as wire:
        stream = 1
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            wire.send(
                b"".join(
                    wire.request(stream + 2 * i, infer_message(name)) for i, name in enumerate(part)
                )
            )
            stream += 2 * len(part)
            wire.until_end_of(stream - 2)


def test_one_record_is_24_bytes():
    assert JOURNAL.itemsize == 24


def test_ids_and_arrivals_after_a_clean_exit(tmp_path):
    path = tmp_path / "journal"
    ids = ["a", "0123456789abcdef", "longer than sixteen bytes", ""]
    before = time.monotonic_ns()
    with EmbeddedServer(ServeConfig(journal=str(path))) as server:
        send(server.url, ids)
        assert server.stop() == 0
    records = read_journal(path)
    assert [name.decode() for name in records["id"]] == [name[:16] for name in ids]
    assert path.stat().st_size == len(ids) * JOURNAL.itemsize
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    arrivals = records["arrival_ns"]
    assert before < arrivals[0]
    assert arrivals[-1] < time.monotonic_ns()
    assert np.all(np.diff(arrivals) >= 0)


def test_it_is_whole_after_sigkill_over_several_chunks(tmp_path):
    path = tmp_path / "journal"
    ids = [f"{i:016d}" for i in range(40_000)]  # a chunk holds 32 768
    with EmbeddedServer(ServeConfig(journal=str(path))) as server:
        send(server.url, ids)
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
    assert path.stat().st_size > len(ids) * JOURNAL.itemsize
    records = read_journal(path)
    assert [name.decode() for name in records["id"]] == ids


def test_a_full_disk_ends_the_server_with_the_journal_whole_up_to_there(tmp_path):
    path = tmp_path / "journal"
    with EmbeddedServer(ServeConfig(journal=str(path))) as server:
        process = server.process
        first_chunk = path.stat().st_size
        psutil.Process(server.pid).rlimit(psutil.RLIMIT_FSIZE, (first_chunk, first_chunk))
        with pytest.raises((AssertionError, ConnectionError)):
            send(server.url, ["x"] * 40_000)
        assert process.wait(10) == 1
    assert len(read_journal(path)) == first_chunk // JOURNAL.itemsize


def test_refused_requests_are_in_it(tmp_path):
    path = tmp_path / "journal"
    with EmbeddedServer(ServeConfig(journal=str(path))) as server, Wire(server.url) as wire:
        wire.infer(1, infer_message("wrong", model="other"))
    assert read_journal(path)["id"].tolist() == [b"wrong"]


def test_a_file_cut_inside_a_record_is_read_up_to_there(tmp_path):
    path = tmp_path / "journal"
    whole = np.array([(b"a", 5), (b"b", 6)], dtype=JOURNAL)
    path.write_bytes(whole.tobytes()[:-3])
    assert read_journal(path).tolist() == [(b"a", 5)]


def test_an_empty_file_has_no_records(tmp_path):
    path = tmp_path / "journal"
    path.touch()
    assert len(read_journal(path)) == 0


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_journal(tmp_path / "none")
