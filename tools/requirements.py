"""Prints what pyproject.toml asks for to build, run and develop, one requirement a line."""

import tomllib
from pathlib import Path

text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text()
settings = tomllib.loads(text)
project = settings["project"]
print(
    *settings["build-system"]["requires"],
    *project["dependencies"],
    *project["optional-dependencies"]["dev"],
    sep="\n",
)
