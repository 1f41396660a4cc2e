"""An examination as a library: the server it is given gets empty calls and no load."""

from pathlib import Path

import pytest

from harness.doctor.examination import Effort, examine
from harness.doctor.judgement import judge
from harness.embedded.journal import read_journal
from harness.embedded.server import EmbeddedServer, ServeConfig
from harness.errors import NotStartedError, UsageError
from tests.grpc_fixture import closed_port

BRIEF = Effort(wakeup_s=0.1, gaps_s=0.1, trial_s=0.2, search_s=0)


def test_a_given_server_gets_no_load(tmp_path: Path) -> None:
    notes: list[str] = []
    journal = tmp_path / "journal"
    with EmbeddedServer(ServeConfig(journal=str(journal))) as server:
        url = server.url
        facts = examine(url, notes.append, BRIEF)
    assert len(read_journal(journal)) == 0
    assert facts.path_url == url
    assert facts.path_floor_ns > 0
    assert notes[0] == f"path floor to {url}"
    assert len(facts.capacity.trials) == 1
    assert facts.wakeup is not None
    assert facts.wakeup.sleeps > 10
    assert next(row for row in judge(facts) if row.name == "path floor").value.endswith(url)


def test_a_server_that_is_not_there_ends_it_before_anything_is_measured() -> None:
    notes: list[str] = []
    with closed_port() as url, pytest.raises(NotStartedError, match="refused"):
        examine(url, notes.append)
    assert len(notes) == 1
    with pytest.raises(UsageError, match="port"):
        examine("localhost", notes.append)
    assert len(notes) == 1
