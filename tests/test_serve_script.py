import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import _server
from harness.errors import UsageError
from harness.serve_script import (
    STATUSES,
    Action,
    Phase,
    format_duration,
    format_script,
    parse_duration_ns,
    parse_script,
    parse_share,
)

S = 10**9
MS = 10**6


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("20ms", 20 * MS),
        ("1.5s", 1500 * MS),
        (" 2m ", 120 * S),
        ("1h", 3600 * S),
        ("7us", 7000),
        ("3ns", 3),
        ("0.25ms", 250_000),
    ],
)
def test_durations(text, duration_ns):
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "ms", "-1s", "1", "1 s", "1e3s", "1.s", "nan", "9999999h"])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match=r"duration"):
        parse_duration_ns(text)


@pytest.mark.parametrize(
    ("text", "share"),
    [("20%", 0.2), ("0.2", 0.2), ("100%", 1), ("0", 0), ("1", 1), ("0.5%", 0.005)],
)
def test_shares(text, share):
    assert parse_share(text) == pytest.approx(share, abs=0)


@pytest.mark.parametrize("text", ["", "%", "101%", "-1%", "2", "nan", "x"])
def test_what_is_no_share(text):
    with pytest.raises(UsageError, match="not a share"):
        parse_share(text)


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


phases = st.builds(
    lambda at_ns, action, share, latency_ns, status: Phase(
        at_ns,
        action,
        share if action in (Action.LATENCY, Action.ERROR) else 1.0,
        latency_ns if action == Action.LATENCY else 0,
        status if action == Action.ERROR else 0,
    ),
    st.integers(0, 10**15),
    st.sampled_from(Action),
    st.floats(0, 1).filter(lambda share: "e" not in repr(share)),
    st.integers(0, 10**12),
    st.sampled_from(sorted(STATUSES.values())),
)


@given(st.lists(phases, max_size=8))
def test_every_script_reads_back(entries):
    script = tuple(sorted(entries, key=lambda phase: phase.at_ns))
    assert parse_script(format_script(script)) == script


@given(st.integers(0, 10**15))
def test_every_duration_reads_back(duration_ns):
    assert parse_duration_ns(format_duration(duration_ns)) == duration_ns


@given(st.text())
def test_any_text_is_a_script_or_a_usage_error(text):
    try:
        said = format_script(parse_script(text))
    except UsageError as error:
        said = str(error)
    assert "\n" not in said


def test_actions_are_numbered_as_in_the_extension():
    assert {action.name: action.value for action in Action} == _server.ACTIONS
