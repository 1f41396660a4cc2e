import signal
import threading

import pytest

from harness.errors import InterruptedRunError
from harness.load.signals import CAUGHT, interrupts


@pytest.fixture(autouse=True)
def handlers():
    """A test that goes wrong must not leave the whole session deaf or dead."""

    def mine(number, frame):
        raise AssertionError(f"{signal.Signals(number).name} was not caught")

    before = {number: signal.signal(number, mine) for number in CAUGHT}
    yield mine
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_signal_calls_the_target_and_is_kept_in_order():
    calls = []
    with interrupts() as seen:
        seen.target = lambda: calls.append(1)
        assert seen.first is None
        signal.raise_signal(signal.SIGTERM)
        assert (seen.first, len(calls)) == ("SIGTERM", 1)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert seen.names == ["SIGTERM", "SIGINT", "SIGINT"]
    assert seen.first == "SIGTERM"
    assert len(calls) == 3


def test_the_handlers_from_before_come_back(handlers):
    with interrupts():
        assert all(signal.getsignal(number) is not handlers for number in CAUGHT)
    assert all(signal.getsignal(number) is handlers for number in CAUGHT)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_before_the_load_a_signal_ends_the_run(name, code):
    with interrupts() as seen, pytest.raises(InterruptedRunError, match=name) as raised:
        signal.raise_signal(getattr(signal, name))
    assert raised.value.exit_code == code
    assert seen.first == name


def run_and_break():
    with interrupts():
        raise RuntimeError("broken")


def test_they_come_back_after_an_error_too(handlers):
    with pytest.raises(RuntimeError, match="broken"):
        run_and_break()
    assert all(signal.getsignal(number) is handlers for number in CAUGHT)


def test_other_signals_are_left_alone():
    before = signal.getsignal(signal.SIGUSR1)
    with interrupts():
        assert signal.getsignal(signal.SIGUSR1) is before


def test_outside_the_main_thread_nothing_is_caught(handlers):
    found = []

    def run():
        with interrupts() as seen:
            found.append((seen.first, [signal.getsignal(number) for number in CAUGHT]))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(None, [handlers, handlers])]
