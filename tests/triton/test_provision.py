"""Provisioning: what is found, what is refused, and that the result is right."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.errors import NotStartedError
from harness.triton import provision as module
from harness.triton.provision import check_machine, default_directory, find, provision


def test_holds_numpy_1_and_a_stub_for_its_python(triton_installation):
    python = Path(triton_installation.root, "bin", "python")
    code = "import numpy, sys; print(numpy.__version__, *sys.version_info[:2])"
    answer = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert answer[0].startswith("1.")
    assert (int(answer[1]), int(answer[2])) in module.PYTHONS
    stub = triton_installation.backends / "python" / "triton_python_backend_stub"
    assert os.access(stub, os.X_OK)
    assert os.access(triton_installation.executable, os.X_OK)
    listing = subprocess.run(
        ["ldd", stub],
        env=triton_installation.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "not found" not in listing


def test_its_environment_comes_first(triton_installation, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    env = triton_installation.environment()
    assert env["PATH"].split(":")[0] == f"{triton_installation.root}/bin"
    assert env["LD_LIBRARY_PATH"].split(":")[0].endswith("nvidia_pytriton.libs")
    assert "PYTHONPATH" not in env


def test_the_second_time_nothing_is_done(triton_installation):
    lines = []
    directory = Path(triton_installation.root).parent
    assert provision(directory, say=lines.append) == triton_installation
    assert lines == []


@pytest.mark.parametrize(
    "change",
    [
        {"pytriton_version": "0.6.0"},
        {"root": "/moved"},
        {"python": "/no/python3.12"},
        {"site_packages": "/nowhere"},
        {"unknown": 1},
    ],
)
def test_another_or_broken_installation_is_not_used(change, triton_installation, tmp_path):
    root = tmp_path / Path(triton_installation.root).name
    root.mkdir()
    good = {**asdict(triton_installation), "root": str(root)}
    (root / module.STAMP).write_text(json.dumps(good))
    assert find(tmp_path) is not None
    (root / module.STAMP).write_text(json.dumps({**good, **change}))
    assert find(tmp_path) is None


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null"])
def test_a_damaged_stamp_is_no_installation(stamp, triton_installation, tmp_path):
    root = tmp_path / Path(triton_installation.root).name
    root.mkdir()
    (root / module.STAMP).write_text(stamp)
    assert find(tmp_path) is None


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (("darwin", "arm64", ""), "Linux on x86_64 only, this is darwin on arm64"),
        (("linux", "aarch64", "2.36"), "Linux on x86_64 only, this is linux on aarch64"),
        (("linux", "x86_64", "2.34"), "glibc 2.35 or newer, here is 2.34"),
        (("linux", "x86_64", "2.9"), "glibc 2.35 or newer, here is 2.9"),
        (("linux", "x86_64", ""), "glibc 2.35 or newer, here is none"),
    ],
)
def test_machines_it_cannot_run_on(machine, words):
    with pytest.raises(NotStartedError, match=words) as caught:
        check_machine(*machine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("glibc", ["2.35", "2.36", "2.40", "3.0"])
def test_machines_it_can_run_on(glibc):
    check_machine("linux", "x86_64", glibc)


def test_no_interpreter_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_candidates", lambda: iter([str(tmp_path / "python3.12")]))
    with pytest.raises(NotStartedError, match=r"Python 3\.12 or 3\.11"):
        provision(tmp_path)


def test_without_the_package_index_one_line_and_nothing_left(tmp_path):
    offline = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
    }
    result = subprocess.run(
        [sys.executable, "-m", "harness.triton.provision", tmp_path],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: cannot install nvidia-pytriton==0.7.0 numpy<2: ")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotStartedError, match="HARNESS_TRITON_DIR"):
        provision(tmp_path / "file")


def test_the_directory_has_a_name_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_TRITON_DIR", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.delenv("HARNESS_TRITON_DIR")
    assert default_directory() == Path(__file__).resolve().parents[2] / ".triton"
