"""Provisions Triton 2.51 from the wheel ``nvidia-pytriton``, in a virtual environment of its own.

``python -m harness.triton.provision [DIR]``. The environment holds that wheel and ``numpy<2``: with
numpy 2 the Python backend answers requests with empty outputs and no error.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError, NotStartedError
from harness.triton.install import Say, checked, locked, replacing, run, silent

TRITON_VERSION = "2.51.0"
PYTRITON_VERSION = "0.7.0"
REQUIREMENTS = (f"nvidia-pytriton=={PYTRITON_VERSION}", "numpy<2")
MIN_GLIBC = (2, 35)
PYTHONS = ((3, 12), (3, 11))
"""Versions the wheel has a backend stub for, numpy 1 a wheel, and tests ran with; best first."""

STAMP = "installation.json"

# The stub embeds the interpreter: it needs that version's libpython, often off the loader's path.
PROBE = """
import ctypes, ensurepip, json, os, sys, sysconfig, venv
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
get = sysconfig.get_config_var
places = [get("LIBDIR"), os.path.join(get("LIBDIR") or "/", get("MULTIARCH") or ""),
          os.path.join(sys.base_prefix, "lib")]
places = [p for p in places if p and os.path.exists(os.path.join(p, name))]
if not places:
    ctypes.CDLL(name)
python = os.path.realpath(sys._base_executable)
print(json.dumps([list(sys.version_info[:2]), python, (places or [""])[0]]))
"""


@dataclass(frozen=True)
class TritonInstallation:
    """Where a provisioned Triton lies; all paths absolute."""

    root: str
    """The virtual environment."""
    python: str
    """The interpreter it was made from, e.g. ``/usr/bin/python3.12``."""
    libpython_dir: str
    """Directory of that interpreter's libpython; empty: the loader finds it."""
    site_packages: str
    pytriton_version: str = PYTRITON_VERSION
    triton_version: str = TRITON_VERSION

    @property
    def executable(self) -> Path:
        """The tritonserver binary."""
        return Path(self.site_packages, "pytriton", "tritonserver", "bin", "tritonserver")

    @property
    def backends(self) -> Path:
        """For ``--backend-directory``."""
        return Path(self.site_packages, "pytriton", "tritonserver", "backends")

    @property
    def caches(self) -> Path:
        """For ``--cache-directory``."""
        return Path(self.site_packages, "pytriton", "tritonserver", "caches")

    def environment(self) -> dict[str, str]:
        """The environment tritonserver has to be started with."""
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}
        libraries = [str(Path(self.site_packages, "nvidia_pytriton.libs")), self.libpython_dir]
        libraries.append(env.get("LD_LIBRARY_PATH", ""))
        env["LD_LIBRARY_PATH"] = os.pathsep.join(p for p in libraries if p)
        env["PATH"] = os.pathsep.join([str(Path(self.root, "bin")), env.get("PATH", os.defpath)])
        env["VIRTUAL_ENV"] = self.root
        env["PYTHONNOUSERSITE"] = "1"
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        return env


def default_directory() -> Path:
    """HARNESS_TRITON_DIR, else ``.triton`` in the source tree, else the user's cache."""
    named = os.environ.get("HARNESS_TRITON_DIR")
    if named:
        return Path(named).absolute()
    source_tree = Path(__file__).resolve().parents[2]
    if (source_tree / "pyproject.toml").exists():
        return source_tree / ".triton"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache).absolute() / "triton-harness" / "triton"


def find(directory: Path | None = None) -> TritonInstallation | None:
    """The Triton provisioned under ``directory``, or None if there is none that can be used."""
    root = _root(directory or default_directory())
    try:
        installation = TritonInstallation(**json.loads((root / STAMP).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    usable = (
        installation.root == str(root)
        and installation.pytriton_version == PYTRITON_VERSION
        and installation.triton_version == TRITON_VERSION
        and installation.executable.exists()
        and Path(installation.python).exists()
    )
    return installation if usable else None


def _root(directory: Path) -> Path:
    return directory.absolute() / f"pytriton-{PYTRITON_VERSION}"


def provision(directory: Path | None = None, say: Say = silent) -> TritonInstallation:
    """Install Triton under ``directory`` unless it is there already; ``say`` gets progress lines.

    Safe against several at once (one installs, the others wait) and against being killed: the
    environment is built under another name and renamed when complete.

    Raises NotStartedError: no suitable machine, interpreter or package index.
    """
    directory = (directory or default_directory()).absolute()
    found = find(directory)
    if found:
        return found
    check_machine()
    python, libpython_dir = _find_python()
    try:
        with locked(directory, say):
            return find(directory) or _install(_root(directory), python, libpython_dir, say)
    except OSError as error:
        raise NotStartedError(
            f"cannot provision Triton under {directory}: {error.strerror}; "
            "name another directory in HARNESS_TRITON_DIR"
        ) from error


def check_machine(
    system: str = sys.platform, machine: str | None = None, glibc: str | None = None
) -> None:
    """Raise NotStartedError unless the wheel's binaries can run here."""
    machine = machine or platform.machine()
    if system != "linux" or machine != "x86_64":
        raise NotStartedError(
            f"Triton comes for Linux on x86_64 only, this is {system} on {machine}; "
            "run it on another machine and name it with -u HOST:PORT"
        )
    if glibc is None:
        glibc = platform.libc_ver()[1]
    try:
        version = tuple(int(part) for part in glibc.split(".")[:2])
    except ValueError:
        version = ()
    if version < MIN_GLIBC:
        raise NotStartedError(
            f"Triton needs glibc 2.35 or newer, here is {glibc or 'none'}; "
            "use Ubuntu 22.04, Debian 12, Fedora 36 or newer"
        )


def _find_python() -> tuple[str, str]:
    """An interpreter that can hold Triton: (its path, the directory of its libpython)."""
    for candidate in _candidates():
        result = run([candidate, "-I", "-c", PROBE], timeout_s=20)
        if result.returncode != 0:
            continue
        version, python, libpython_dir = json.loads(result.stdout)
        if tuple(version) in PYTHONS:
            return python, libpython_dir
    raise NotStartedError(
        "Triton needs Python 3.12 or 3.11 with its venv module and shared library, none was found; "
        "install one (Debian, Ubuntu: python3.12-venv libpython3.12; Fedora: python3.12) "
        "or put one on PATH"
    )


def _candidates() -> Iterator[str]:
    """Paths that may be such an interpreter, the likeliest first."""
    if sys.version_info[:2] in PYTHONS:
        yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for major, minor in PYTHONS:
        # Not pyenv's shims: they answer for a version only where it is selected.
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = Path(folder, f"python{major}.{minor}")
            if path.parent.name != "shims" and os.access(path, os.X_OK):
                yield str(path)
        for path in sorted(pyenv.glob(f"{major}.{minor}.*/bin/python"), reverse=True):
            yield str(path)


def _install(root: Path, python: str, libpython_dir: str, say: Say) -> TritonInstallation:
    say(f"provisioning Triton {TRITON_VERSION} in {root} with {python} (about 75 MB to download)")
    started = time.monotonic()
    with replacing(root) as building:
        checked([python, "-m", "venv", building], "make a virtual environment")
        pip = [str(building / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
        install = ["install", "--quiet", "--no-input", "--no-compile", "--no-deps", *REQUIREMENTS]
        checked([*pip, *install], f"install {' '.join(REQUIREMENTS)}")
        site_packages = next(building.glob("lib/python3.*/site-packages"))
        _place_backend_stub(site_packages)
        place = str(root / site_packages.relative_to(building))
        installation = TritonInstallation(str(root), python, libpython_dir, place)
        (building / STAMP).write_text(json.dumps(asdict(installation), indent=1))
    say(f"Triton {TRITON_VERSION} is ready after {time.monotonic() - started:.0f} s")
    return installation


def _place_backend_stub(site_packages: Path) -> None:
    """The wheel keeps one stub for each Python version; the backend takes the one beside itself."""
    triton = site_packages / "pytriton" / "tritonserver"
    stubs = triton / "python_backend_stubs"
    version = site_packages.parent.name.removeprefix("python")
    stub = triton / "backends" / "python" / "triton_python_backend_stub"
    shutil.copy(stubs / version / stub.name, stub)
    shutil.rmtree(stubs)
    for program in (stub, triton / "bin" / "tritonserver"):
        program.chmod(0o755)


def main() -> int:
    """Provision, say where; 3 with one line of error if that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.triton.provision", description="Provision a real Triton server."
    )
    parser.add_argument(
        "directory", nargs="?", type=Path, help="default: HARNESS_TRITON_DIR or .triton"
    )
    arguments = parser.parse_args()
    try:
        installation = provision(arguments.directory, say=lambda line: print(line, flush=True))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Triton {installation.triton_version}: {installation.executable}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
