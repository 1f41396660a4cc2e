"""``bench --from``: the same run again, and what is not taken from a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from harness.cli.again import config_again
from harness.config import AtCommand
from harness.errors import UsageError
from tests.stored_runs import stored

DEFAULTS: dict[str, Any] = {
    "urls": (),
    "headers": (),
    "at": (),
    "labels": {},
    "out": None,
    "force": False,
    "allow_invalid": False,
    "fail_on_violation": False,
}


def again(path: Path, **given: Any) -> Any:
    names = {"urls": "url", "headers": "header", "labels": "label"}
    asked = [names.get(name, name) for name in given]
    return config_again(str(path), {**DEFAULTS, **given}, ["again", *asked])


def test_all_but_the_directory_is_the_same(tmp_path: Path) -> None:
    path = stored(tmp_path / "run", rate=300, seed=9, config={"labels": {"gpu": "H200"}})
    config = again(path)
    assert (config.rate, config.seed, config.labels) == (300, 9, {"gpu": "H200"})
    assert config.out is None
    assert config.urls == ("gpu1:8001",)


def test_a_closed_loop_too(tmp_path: Path) -> None:
    path = stored(tmp_path / "run", dist="closed", concurrency=8)
    assert (again(path).concurrency, again(path).dist) == (8, "closed")


def test_servers_and_labels_may_differ(tmp_path: Path) -> None:
    path = stored(tmp_path / "run")
    config = again(path, urls=("other:8001",), labels={"gpu": "H100"}, out="x")
    assert (config.urls, config.labels, config.out) == (("other:8001",), {"gpu": "H100"}, "x")


def test_embedded_servers_are_started_anew(tmp_path: Path) -> None:
    path = stored(tmp_path / "run", config={"embedded": True})
    assert again(path).urls == ()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"headers": (("x-key", SecretStr("hunter22")),)}, "give -H again"),
        ({"at": (AtCommand(at_ns=1, command="touch /tmp/owned"),)}, "give --at again"),
    ],
)
def test_secrets_and_commands_are_not_taken_from_a_file(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    path = stored(tmp_path / "run", config=config)
    with pytest.raises(UsageError, match=words):
        again(path)
    (name,) = config
    assert getattr(again(path, **{name: config[name]}), name) == config[name]


def test_another_load_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "run")
    with pytest.raises(UsageError, match="without --drain-timeout"):
        config_again(str(path), DEFAULTS, ["again", "drain_timeout"])


def test_a_configuration_that_was_tampered_with(tmp_path: Path) -> None:
    path = stored(tmp_path / "run")
    content = json.loads((path / "summary.json").read_text())
    content["config"]["rate"] = -1
    (path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="--rate -1: must be at least"):
        again(path)
