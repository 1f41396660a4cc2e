"""Finds nghttp2's header and library for the build; ``--install`` also installs what is missing.

Searched in this order: HARNESS_NGHTTP2_PREFIX, pkg-config, the compiler's own paths. Standard
library only: it runs before anything is installed.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INSTALL_TIMEOUT_S = 600
PROGRAM = """
#include <nghttp2/nghttp2.h>
int main(void) { return nghttp2_version(0) ? 0 : 1; }
"""

LINUX_ONLY = f"triton-harness runs on Linux only, this is {sys.platform}"

MESSAGE = """\
nghttp2 is missing: its header nghttp2/nghttp2.h or its library was not found. Install it:
  Debian, Ubuntu:  apt-get install libnghttp2-dev
  Fedora, RHEL:    dnf install libnghttp2-devel
  Arch:            pacman -S libnghttp2
  Alpine:          apk add nghttp2-dev
  conda:           conda install -c conda-forge libnghttp2
                   export HARNESS_NGHTTP2_PREFIX=$CONDA_PREFIX
or set HARNESS_NGHTTP2_PREFIX to the directory that holds its include/ and lib/."""

NO_COMPILER = """\
No C compiler was found (looked for: {names}). Install one, with Python's header files:
  Debian, Ubuntu:  apt-get install gcc libc6-dev python3-dev
  Fedora, RHEL:    dnf install gcc python3-devel
  Arch:            pacman -S gcc
  Alpine:          apk add gcc musl-dev python3-dev
or name one in the environment variable CC."""

PACKAGES = {"apt-get": "libnghttp2-dev", "dnf": "libnghttp2-devel"}


class Missing(Exception):
    """Something to build with is missing; the message says what, and what to install."""


@dataclass(frozen=True)
class Nghttp2:
    """Directories beyond the compiler's own; empty where its own do."""

    include_dirs: tuple[str, ...] = ()
    library_dirs: tuple[str, ...] = ()
    found_by: str = "the compiler's default paths"

    @property
    def runtime_library_dirs(self) -> tuple[str, ...]:
        """For the extension's rpath: where the loader would not look by itself."""
        return self.library_dirs


def compiler() -> list[str]:
    """The C compiler's command; raises Missing."""
    named = os.environ.get("CC")
    names = [named] if named else [sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    commands = [shlex.split(name) for name in names if name]
    for command in commands:
        if shutil.which(command[0]):
            return command
    tried = ", ".join(dict.fromkeys(command[0] for command in commands))
    raise Missing(NO_COMPILER.format(names=tried))


def find() -> Nghttp2:
    """Where nghttp2 is; raises Missing."""
    cc = compiler()
    prefix = os.environ.get("HARNESS_NGHTTP2_PREFIX")
    if prefix:
        found = _in_prefix(Path(prefix).absolute())
        if _links(cc, found):
            return found
        raise Missing(f"HARNESS_NGHTTP2_PREFIX={prefix} does not hold it.\n{MESSAGE}")
    for candidate in (_by_pkg_config(), Nghttp2()):
        if candidate is not None and _links(cc, candidate):
            return candidate
    raise Missing(MESSAGE)


def _in_prefix(prefix: Path) -> Nghttp2:
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    folders = [prefix / "lib" / triplet, prefix / "lib64", prefix / "lib"]
    libraries = [str(f) for f in dict.fromkeys(folders) if any(f.glob("libnghttp2.so*"))]
    return Nghttp2((str(prefix / "include"),), tuple(libraries), "HARNESS_NGHTTP2_PREFIX")


def _by_pkg_config() -> Nghttp2 | None:
    command = shlex.split(os.environ.get("PKG_CONFIG") or "pkg-config")
    try:
        words = subprocess.run(
            [*command, "--cflags", "--libs", "libnghttp2"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    include_dirs = tuple(word[2:] for word in words if word.startswith("-I"))
    library_dirs = tuple(word[2:] for word in words if word.startswith("-L"))
    return Nghttp2(include_dirs, library_dirs, "pkg-config")


def _links(cc: list[str], where: Nghttp2) -> bool:
    """Whether a program that uses nghttp2 from there compiles and links.

    A prefix counts only with a header and a library of its own, so that others in the compiler's
    paths do not stand in for them.
    """
    if where.found_by == "HARNESS_NGHTTP2_PREFIX" and not (
        where.library_dirs and Path(where.include_dirs[0], "nghttp2", "nghttp2.h").exists()
    ):
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "test.c")
        source.write_text(PROGRAM)
        paths = [f"-I{path}" for path in where.include_dirs]
        paths += [f"-L{path}" for path in where.library_dirs]
        command = [*cc, str(source), *paths, "-lnghttp2", "-o", str(Path(folder, "test"))]
        try:
            result = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.SubprocessError):
            return False
        return result.returncode == 0


def install(packages: Mapping[str, str]) -> bool:
    """Install the distribution's packages if this user may; whether it was tried.

    ``packages``: the words behind "install", by program.
    """
    program = next((name for name in packages if shutil.which(name)), None)
    if program is None:
        return False
    sudo: list[str] = []
    if os.geteuid() != 0:
        sudo = ["sudo", "-n"]
        try:
            subprocess.run([*sudo, "true"], capture_output=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
    commands = [[*sudo, program, "install", "-y", "-q", *packages[program].split()]]
    if program == "apt-get":
        # apt-get knows no package before its lists are there.
        commands.insert(0, [*sudo, program, "update", "-q"])
    print(f"installing {packages[program]} with {program}", flush=True)
    for command in commands:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=INSTALL_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{shlex.join(command)}: {error}", file=sys.stderr)
            continue
        if done.returncode != 0:
            print(f"{shlex.join(command)} failed:\n{done.stdout[-2000:]}", file=sys.stderr)
    return True


def main() -> int:
    """Say where nghttp2 is; 1 with what to install if it is missing."""
    parser = argparse.ArgumentParser(description="Find nghttp2 for the build.")
    parser.add_argument("--install", action="store_true", help="install it if it is missing")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        print(LINUX_ONLY, file=sys.stderr)
        return 1
    try:
        compiler()
        try:
            found = find()
        except Missing:
            if (
                not arguments.install
                or os.environ.get("HARNESS_NGHTTP2_PREFIX")
                or not install(PACKAGES)
            ):
                raise
            found = find()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f"nghttp2: {found.found_by}" + "".join(f" {path}" for path in found.library_dirs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
