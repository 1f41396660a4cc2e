"""The lock, the whole-or-nothing folder, and errors of programs."""

import sys
import threading

import pytest

from harness.errors import NotStartedError
from harness.triton import install
from harness.triton.install import checked, locked, replacing, run


def test_one_at_a_time(tmp_path):
    order = []
    waiting = threading.Event()

    def second():
        with locked(tmp_path, say=lambda line: waiting.set()):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path):
        thread.start()
        assert waiting.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_waiting_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "LOCK_TIMEOUT_S", 0.05)
    with (
        locked(tmp_path),
        pytest.raises(NotStartedError, match="another process"),
        locked(tmp_path),
    ):
        pass


def test_a_complete_folder_takes_the_place_of_the_old_one(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").touch()
    (tmp_path / "building-left-by-a-killed-one").mkdir()
    with replacing(root) as building:
        assert building.parent == tmp_path
        (building / "new").touch()
        assert (root / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert [path.name for path in root.iterdir()] == ["new"]


def test_a_failed_one_leaves_the_old_one_alone(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(ZeroDivisionError), replacing(root) as building:
        (building / "half").write_text(str(1 / 0))
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert list(root.iterdir()) == []


def test_a_failed_program_gives_one_line_with_its_last_error():
    code = (
        "import sys; print('ERROR: first\\nERROR: no index\\nhint', file=sys.stderr); sys.exit(1)"
    )
    with pytest.raises(NotStartedError) as caught:
        checked([sys.executable, "-c", code], "install x")
    assert str(caught.value).startswith("cannot install x: no index; ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "status", "reason"),
    [
        (["no-such-program"], 127, "No such file"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], 124, "no end after 0 s"),
    ],
)
def test_a_program_that_cannot_run_or_does_not_end(argv, status, reason):
    result = run(argv, timeout_s=0.2)
    assert result.returncode == status
    assert reason in result.stderr
