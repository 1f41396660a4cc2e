"""tools/nghttp2.py and setup.py, run with fake environments."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "nghttp2.py"
SYSTEM_WITHOUT = {"CC": "gcc -nostdinc", "PKG_CONFIG": "false", "HARNESS_NGHTTP2_PREFIX": ""}
HEADER = "int nghttp2_version(int);"


def load():
    spec = importlib.util.spec_from_file_location("nghttp2_under_test", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


nghttp2 = load()


def run(*argv, **env):
    return subprocess.run(
        [sys.executable, *map(str, argv)],
        env={**os.environ, "HARNESS_NGHTTP2_PREFIX": "", **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(path: Path, *lines):
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture
def prefix(tmp_path):
    """A directory with an nghttp2 of its own."""
    root = tmp_path / "prefix"
    (root / "include" / "nghttp2").mkdir(parents=True)
    (root / "include" / "nghttp2" / "nghttp2.h").write_text(HEADER)
    (root / "lib").mkdir()
    source = tmp_path / "library.c"
    source.write_text("int nghttp2_version(int least) { return 1; }")
    library = root / "lib" / "libnghttp2.so"
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", library], check=True, timeout=60)
    return root


def test_says_once_what_to_install_on_which_system():
    result = run(TOOL, **SYSTEM_WITHOUT)
    assert result.returncode == 1
    assert result.stderr == nghttp2.MESSAGE + "\n"
    for package in ("libnghttp2-dev", "libnghttp2-devel", "pacman", "apk add", "conda"):
        assert package in result.stderr


def test_setup_ends_with_the_same_message_and_no_traceback():
    result = run("setup.py", "--name", **SYSTEM_WITHOUT)
    assert result.returncode == 1
    assert result.stderr == nghttp2.MESSAGE + "\n"


def test_a_prefix_comes_before_pkg_config(prefix, tmp_path):
    pkg_config = script(tmp_path / "pkg-config", "echo -I/elsewhere -L/elsewhere -lnghttp2")
    result = run(TOOL, HARNESS_NGHTTP2_PREFIX=str(prefix), PKG_CONFIG=str(pkg_config))
    assert result.returncode == 0
    assert result.stdout == f"nghttp2: HARNESS_NGHTTP2_PREFIX {prefix}/lib\n"


def test_pkg_config_comes_before_the_default_paths(prefix, tmp_path, monkeypatch):
    pkg_config = script(
        tmp_path / "pkg-config", f"echo -I{prefix}/include -L{prefix}/lib -lnghttp2"
    )
    monkeypatch.setenv("PKG_CONFIG", str(pkg_config))
    monkeypatch.delenv("HARNESS_NGHTTP2_PREFIX", raising=False)
    found = nghttp2.find()
    assert found.found_by == "pkg-config"
    assert found.include_dirs == (f"{prefix}/include",)
    assert found.library_dirs == found.runtime_library_dirs == (f"{prefix}/lib",)


def test_the_default_paths_come_last(prefix, monkeypatch):
    monkeypatch.setenv("CC", f"gcc -I{prefix}/include -L{prefix}/lib")
    monkeypatch.setenv("PKG_CONFIG", "false")
    monkeypatch.delenv("HARNESS_NGHTTP2_PREFIX", raising=False)
    assert nghttp2.find() == nghttp2.Nghttp2()


@pytest.mark.parametrize("lacking", ["include/nghttp2/nghttp2.h", "lib/libnghttp2.so"])
def test_a_prefix_without_nghttp2_is_an_error_even_if_the_system_has_it(prefix, lacking):
    (prefix / lacking).unlink()
    result = run(TOOL, HARNESS_NGHTTP2_PREFIX=str(prefix))
    assert result.returncode == 1
    assert result.stderr.startswith(f"HARNESS_NGHTTP2_PREFIX={prefix} does not hold it")
    assert "libnghttp2-dev" in result.stderr


def test_a_missing_compiler_is_named():
    result = run(TOOL, CC="no-such-cc")
    assert result.returncode == 1
    assert result.stderr.startswith("No C compiler was found (looked for: no-such-cc)")
    assert "Traceback" not in result.stderr


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose package manager makes the compiler find nghttp2; returns its diary."""
    diary, installed = tmp_path / "diary", tmp_path / "installed"
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    script(bin_dir / "cc", f"[ -e {installed} ]")
    monkeypatch.setenv("PATH", f"{bin_dir}:/usr/bin:/bin")
    monkeypatch.setenv("CC", str(bin_dir / "cc"))
    monkeypatch.setenv("PKG_CONFIG", "false")
    monkeypatch.delenv("HARNESS_NGHTTP2_PREFIX", raising=False)
    monkeypatch.setattr(sys, "argv", ["nghttp2.py", "--install"])
    for name in ("apt-get", "dnf"):
        install = f'case "$*" in *install*) : > {installed};; esac'
        script(bin_dir / name, f'echo "{name} $*" >> {diary}', install)
    script(bin_dir / "sudo", f'echo "sudo $1" >> {diary}', "shift", 'exec "$@"')
    diary.touch()
    return bin_dir, diary


def test_root_installs_with_apt(machine, monkeypatch):
    _, diary = machine
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert nghttp2.main() == 0
    assert diary.read_text().splitlines() == [
        "apt-get update -q",
        "apt-get install -y -q libnghttp2-dev",
    ]


def test_a_user_installs_with_sudo_that_asks_nothing(machine, monkeypatch):
    _, diary = machine
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(nghttp2, "PACKAGES", {"dnf": "libnghttp2-devel"})
    assert nghttp2.main() == 0
    lines = diary.read_text().splitlines()
    assert lines == ["sudo -n", "sudo -n", "dnf install -y -q libnghttp2-devel"]


def test_a_user_without_sudo_is_told(machine, monkeypatch, capsys):
    bin_dir, diary = machine
    script(bin_dir / "sudo", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert nghttp2.main() == 1
    assert diary.read_text() == ""
    assert capsys.readouterr().err == nghttp2.MESSAGE + "\n"


def test_a_failed_installation_shows_why_and_what_to_do(machine, monkeypatch, capsys):
    bin_dir, _ = machine
    script(bin_dir / "apt-get", "echo E: no such host", "exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert nghttp2.main() == 1
    error = capsys.readouterr().err
    assert "E: no such host" in error
    assert error.endswith(nghttp2.MESSAGE + "\n")


def test_nothing_is_installed_that_is_there(machine, monkeypatch, tmp_path):
    _, diary = machine
    (tmp_path / "installed").touch()
    assert nghttp2.main() == 0
    assert diary.read_text() == ""


@pytest.mark.parametrize(
    "code", ["import harness", "import runpy; runpy.run_path('setup.py')"], ids=["import", "setup"]
)
def test_another_system_is_told_linux_only(code):
    result = run("-c", f"import sys; sys.platform = 'darwin'; {code}")
    assert result.returncode == 1
    assert "triton-harness runs on Linux only, this is darwin" in result.stderr.splitlines()[-1]
