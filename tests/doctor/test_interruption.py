"""Signals in an examination: raised at once, or after the run that handled them."""

import os
import signal
import threading

import pytest

from harness.doctor.interruption import interruptible
from harness.errors import InterruptedRunError
from harness.load.signals import interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_at_once(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError) as caught, interruptible():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_a_run_took_is_not_lost(number: signal.Signals, code: int) -> None:
    told: list[int] = []
    with interruptible() as check:
        check()
        with interrupts() as caught:
            caught.target = lambda: told.append(1)
            os.kill(os.getpid(), number)
        assert told == [1]
        with pytest.raises(InterruptedRunError) as raised:
            check()
        assert raised.value.exit_code == code
        check()


def test_another_signal_says_nothing() -> None:
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with interruptible() as check:
            os.kill(os.getpid(), signal.SIGUSR1)
            check()
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_in_another_thread_nothing_is_caught() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def examine() -> None:
        with interruptible() as check:
            check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=examine)
    thread.start()
    thread.join(10)
    assert seen == [before]
