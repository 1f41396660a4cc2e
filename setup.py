"""Builds the extension modules; everything else is in pyproject.toml.

HARNESS_DEBUG=1: bounds checks, no optimization to speak of, debug information.
HARNESS_CYTHON_DIR: all C files are made anew, there and not beside their sources.
"""

import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tools import nghttp2

if sys.platform != "linux":
    sys.exit(nghttp2.LINUX_ONLY)
try:
    os.environ.setdefault("CC", shlex.join(nghttp2.compiler()))
    NGHTTP2 = nghttp2.find()
except nghttp2.Missing as missing:
    sys.exit(str(missing))

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("HARNESS_DEBUG", "") not in ("", "0")
CYTHON_DIR = os.environ.get("HARNESS_CYTHON_DIR")
NUMPY_RANDOM_LIB = os.path.join(os.path.dirname(np.__file__), "random", "lib")

# Contracted multiply-adds would make the plan differ between processors.
COMPILE_ARGS = [
    *(["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O3"]),
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wno-unused-function",
]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": False,
    "show_performance_hints": True,
}


def extension(name: str, **kwargs) -> Extension:
    if "nghttp2" in kwargs.get("libraries", ()):
        for key in ("include_dirs", "library_dirs", "runtime_library_dirs"):
            kwargs[key] = [*kwargs.get(key, ()), *getattr(NGHTTP2, key)]
    return Extension(
        f"harness.{name}",
        [f"harness/{name}.pyx"],
        extra_compile_args=COMPILE_ARGS,
        **kwargs,
    )


EXTENSIONS = [
    extension(
        "_plan",
        include_dirs=[np.get_include()],
        library_dirs=[NUMPY_RANDOM_LIB],
        libraries=["npyrandom", "m"],
    ),
    extension("_clock"),
    extension("_shm"),
    extension("_histogram"),
    extension("_tally"),
    extension("_ledger"),
    extension("_orphans"),
    extension("_policy"),
    extension("_response"),
    extension("_connection", libraries=["nghttp2"]),
    extension("_lanes", libraries=["nghttp2"]),
    extension("_guard"),
    extension("_core", include_dirs=[np.get_include()]),
    extension("_server", libraries=["nghttp2"]),
]
EXTENSIONS = [e for e in EXTENSIONS if Path(e.sources[0]).exists()]

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        compiler_directives=DIRECTIVES,
        nthreads=2,
        build_dir=CYTHON_DIR,
        force=bool(CYTHON_DIR),
    )
)
