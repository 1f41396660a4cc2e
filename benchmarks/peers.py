"""Other programs that benchmarks run, without root or container.

``python -m benchmarks.peers [DIR]`` (default ``.peers``): perf_analyzer 2.41 and h2load to compare
with, valgrind to count instructions. perf_analyzer comes from the last wheel of tritonclient that
carried it, its libb64 and all of the others from the distribution's packages.
"""

import argparse
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.errors import HarnessError, NotStartedError
from harness.triton.install import Say, checked, locked, replacing, run, silent

DIRECTORY = Path(__file__).resolve().parents[1] / ".peers"
STAMP = "peer.json"
PERF_ANALYZER_WHEEL = "tritonclient==2.41.0"
CUDA_RUNTIME_WHEEL = "nvidia-cuda-runtime-cu12"


@dataclass(frozen=True)
class Peer:
    """A program that can be run: ``subprocess.run([*peer.argv, ...], env=peer.environment())``."""

    name: str
    version: str
    argv: tuple[str, ...]
    library_dirs: tuple[str, ...] = field(default=())
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """This process's environment with what the program needs."""
        return {**_with_libraries(self.library_dirs), **self.variables}


def peer(name: str, directory: Path = DIRECTORY, say: Say = silent) -> Peer:
    """One of PEERS by its name, provisioned under ``directory`` if it is not yet.

    Raises NotStartedError: it cannot be had on this machine, and why.
    """
    version, build = PEERS[name]
    root = directory.absolute() / f"{name}-{version}"
    try:
        with locked(root.parent, say):
            found = _find(root)
            if found:
                return found
            say(f"provisioning {name} in {root}")
            with replacing(root) as building:
                built = build(building)
                # The paths were found in the folder's building name.
                text = json.dumps(asdict(built)).replace(str(building), str(root))
                (building / STAMP).write_text(text)
    except NotStartedError as error:
        raise NotStartedError(f"{name} cannot be had here: {error}") from error
    except OSError as error:
        raise NotStartedError(f"{name} cannot be had here: {root}: {error.strerror}") from error
    found = _find(root)
    if found is None:
        raise NotStartedError(f"{name} cannot be had here: {root} does not hold it")
    return found


def _find(root: Path) -> Peer | None:
    try:
        stamp = json.loads((root / STAMP).read_text())
        argv, library_dirs = tuple(stamp["argv"]), tuple(stamp["library_dirs"])
    except (OSError, ValueError, KeyError):
        return None
    if not os.access(argv[0], os.X_OK):
        return None
    return Peer(stamp["name"], stamp["version"], argv, library_dirs, stamp.get("variables", {}))


def _perf_analyzer(folder: Path) -> Peer:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    for wheel in (PERF_ANALYZER_WHEEL, CUDA_RUNTIME_WHEEL):
        checked([*pip, "--no-deps", "--dest", str(folder), wheel], f"download {wheel}")
    for wheel_file in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel_file) as archive:
            for member in archive.namelist():
                if re.search(r"/bin/perf_analyzer$|/lib/libcudart\.so\.\d+$", member):
                    archive.extract(member, folder)
        wheel_file.unlink()
    program = next(folder.glob("*.data/data/bin/perf_analyzer"), None)
    if program is None:
        raise NotStartedError(f"{PERF_ANALYZER_WHEEL} for this platform holds no perf_analyzer")
    program.chmod(0o755)
    library_dirs = _complete(program, folder, ("libb64-0d",))
    answer = run([program, "--version"], timeout_s=30, env=_with_libraries(library_dirs))
    version = re.search(r"Version (\S+)", answer.stdout + answer.stderr)
    if version is None:
        raise NotStartedError(f"it does not run: {(answer.stderr or answer.stdout)[-300:].strip()}")
    return Peer("perf_analyzer", version[1], (str(program),), library_dirs)


def _h2load(folder: Path) -> Peer:
    installed = shutil.which("h2load")
    if installed:
        program = Path(installed)
        library_dirs: tuple[str, ...] = ()
    else:
        _packages(folder, ("nghttp2-client",))
        program = folder / "usr" / "bin" / "h2load"
        library_dirs = _complete(program, folder, _dependencies(folder))
    answer = run([program, "--version"], timeout_s=30, env=_with_libraries(library_dirs))
    version = re.search(r"nghttp2/(\S+)", answer.stdout)
    if version is None:
        raise NotStartedError(f"it does not run: {(answer.stderr or answer.stdout)[-300:].strip()}")
    return Peer("h2load", version[1], (str(program),), library_dirs)


def _valgrind(folder: Path) -> Peer:
    installed = shutil.which("valgrind")
    variables = {}
    if installed:
        program = Path(installed)
    else:
        _packages(folder, ("valgrind",))
        program = folder / "usr" / "bin" / "valgrind"
        variables["VALGRIND_LIB"] = str(folder / "usr" / "libexec" / "valgrind")
    answer = run([program, "--version"], timeout_s=30, env={**os.environ, **variables})
    version = re.search(r"valgrind-(\S+)", answer.stdout)
    if version is None:
        raise NotStartedError(f"it does not run: {(answer.stderr or answer.stdout)[-300:].strip()}")
    return Peer("valgrind", version[1], (str(program),), (), variables)


PEERS: dict[str, tuple[str, Callable[[Path], Peer]]] = {
    "perf_analyzer": ("2.41", _perf_analyzer),
    "h2load": ("distribution", _h2load),
    "valgrind": ("distribution", _valgrind),
}


def _complete(program: Path, folder: Path, packages: tuple[str, ...]) -> tuple[str, ...]:
    """Fetch what the program's loader misses; the directories to name in LD_LIBRARY_PATH."""
    if _missing(program, _library_dirs(folder)):
        _packages(folder, packages)
    missing = _missing(program, _library_dirs(folder))
    if missing:
        raise NotStartedError(
            f"it needs {', '.join(missing)}; install the packages {' '.join(packages)}"
        )
    return _library_dirs(folder)


def _library_dirs(folder: Path) -> tuple[str, ...]:
    return tuple(sorted({str(path.parent) for path in folder.rglob("*.so*")}))


def _with_libraries(library_dirs: tuple[str, ...]) -> dict[str, str]:
    env = dict(os.environ)
    paths = [*library_dirs, env.get("LD_LIBRARY_PATH", "")]
    env["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
    return env


def _missing(program: Path, library_dirs: tuple[str, ...]) -> list[str]:
    listing = run(["ldd", program], timeout_s=30, env=_with_libraries(library_dirs)).stdout
    return re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE)


def _packages(folder: Path, names: tuple[str, ...]) -> None:
    """Unpack packages of the distribution into the folder; the system stays as it is."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NotStartedError(
            f"only Debian's packages can be unpacked here; install {' '.join(names)}"
        )
    downloads = folder / "packages"
    downloads.mkdir(exist_ok=True)
    if run(["apt-get", "download", *names], cwd=downloads).returncode != 0:
        # No lists of packages, or old ones: fresh ones of our own need no root.
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / "apt" / part).mkdir(parents=True, exist_ok=True)
        own = [f"-oDir::State::Lists={folder}/apt/lists", f"-oDir::Cache={folder}/apt/cache"]
        checked(["apt-get", *own, "update"], "read the lists of packages")
        checked(["apt-get", *own, "download", *names], f"download {' '.join(names)}", cwd=downloads)
        shutil.rmtree(folder / "apt")
    for package in downloads.glob("*.deb"):
        checked(["dpkg-deb", "-x", str(package), str(folder)], f"unpack {package.name}")


def _dependencies(folder: Path) -> tuple[str, ...]:
    """The packages that the unpacked ones name, but for the C library."""
    names: set[str] = set()
    for package in (folder / "packages").glob("*.deb"):
        line = checked(["dpkg-deb", "-f", str(package), "Depends"], f"read {package.name}")
        names |= {re.split(r"[ :(|]", entry.strip())[0] for entry in line.split(",")}
    return tuple(sorted(names - {"", "libc6"}))


def main() -> int:
    """Provision every peer; 3 if one cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=DIRECTORY)
    arguments = parser.parse_args()
    status = 0
    for name in PEERS:
        try:
            found = peer(name, arguments.directory, say=lambda line: print(line, flush=True))
        except HarnessError as error:
            print(f"error: {error}", file=sys.stderr)
            status = error.exit_code
        else:
            print(f"{found.name} {found.version}: {found.argv[0]}")
    return status


if __name__ == "__main__":
    sys.exit(main())
