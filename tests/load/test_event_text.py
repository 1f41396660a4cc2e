"""Events as lines for people."""

from typing import Any

import pytest

from harness.load.event_text import event_text


def line(event: str, **facts: Any) -> str | None:
    return event_text({"t_ns": 1_500_000_000, "event": event, **facts}, ["a:1", "b:2"])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"exit_code": 0}, None),
        ({"exit_code": 127}, "+1.500 s  command failed, exit code 127: kill x"),
        ({"exit_code": -9}, "+1.500 s  command failed, exit code -9: kill x"),
        (
            {"exit_code": None, "error": "Argument list too long"},
            "+1.500 s  command failed, Argument list too long: kill x",
        ),
    ],
)
def test_a_command_that_failed_is_told(facts: dict[str, Any], expected: str | None) -> None:
    assert line("command_ended", command="kill x", **facts) == expected


def test_a_command_that_outlives_the_run_is_told() -> None:
    assert line("command_running", command="sleep 9") == (
        "+1.500 s  command still runs, left alone: sleep 9"
    )
