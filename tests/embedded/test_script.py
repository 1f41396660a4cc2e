import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import _server
from harness.embedded.script import Action, Phase, parse_script
from harness.errors import UsageError

S = 10**9
MS = 10**6


def test_the_documented_script():
    script = (
        "2s: latency=80ms@20%; 4s: hang; 6s: error=UNAVAILABLE@20%; 8s: goaway; 9s: reset; 10s: ok"
    )
    assert parse_script(script) == (
        Phase(2 * S, Action.LATENCY, 0.2, latency_ns=80 * MS),
        Phase(4 * S, Action.HANG),
        Phase(6 * S, Action.ERROR, 0.2, status=14),
        Phase(8 * S, Action.GOAWAY),
        Phase(9 * S, Action.RESET),
        Phase(10 * S, Action.OK),
    )


@pytest.mark.parametrize(
    ("script", "phases"),
    [
        ("", ()),
        (" ; ;", ()),
        ("0: refuse;", (Phase(0, Action.REFUSE),)),
        ("1s:latency = 5ms", (Phase(S, Action.LATENCY, 1.0, latency_ns=5 * MS),)),
        ("1s: error=INTERNAL", (Phase(S, Action.ERROR, 1.0, status=13),)),
        (
            "1s: halfclose; 1s: garbage; 1s: goaway_abrupt",
            (Phase(S, Action.HALFCLOSE), Phase(S, Action.GARBAGE), Phase(S, Action.GOAWAY_ABRUPT)),
        ),
    ],
)
def test_scripts(script, phases):
    assert parse_script(script) == phases


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("hang", "'hang'"),
        ("2s hang", "no ':'"),
        ("2x: hang", "'2x'"),
        ("2s: explode", "'explode'"),
        ("2s: hang=1", "hang takes no value"),
        ("2s: latency", "''"),
        ("2s: latency=fast", "'fast'"),
        ("2s: latency=5ms@120%", "'120%'"),
        ("2s: error=OK", "'OK'"),
        ("2s: error=Nope@5%", "'Nope'"),
        ("2s: error=INTERNAL@", "''"),
        ("4s: hang; 2s: ok", "ok at 2s after 4s"),
        ("1s: ok;" * 1001, "1001"),
    ],
)
def test_an_error_is_one_line_with_the_offending_part(script, part):
    with pytest.raises(UsageError) as error:
        parse_script(script)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text())
def test_any_text_is_a_script_or_a_usage_error(text):
    try:
        said = repr(parse_script(text))
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


def test_actions_are_numbered_as_in_the_extension():
    assert {action.name: action.value for action in Action} == _server.ACTIONS
