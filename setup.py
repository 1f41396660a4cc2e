"""Builds the extension modules; everything else is in pyproject.toml."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

NUMPY_RANDOM_LIB = os.path.join(os.path.dirname(np.__file__), "random", "lib")

# Contracted multiply-adds would make the plan differ between processors.
COMPILE_ARGS = ["-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-Wall",
                "-Wno-unused-function"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": False,
    "show_performance_hints": True,
}


def extension(name: str, **kwargs) -> Extension:
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
    extension("_shm"),
    extension("_histogram"),
    extension("_tally"),
    extension("_ledger"),
    extension("_response"),
    extension("_connection", libraries=["nghttp2"]),
    extension("_core", include_dirs=[np.get_include()], libraries=["nghttp2"]),
    extension("_server", libraries=["nghttp2"]),
]
EXTENSIONS = [e for e in EXTENSIONS if Path(e.sources[0]).exists()]

setup(ext_modules=cythonize(EXTENSIONS, compiler_directives=DIRECTIVES, nthreads=2))
