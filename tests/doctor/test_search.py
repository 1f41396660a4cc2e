"""The search ends, and between its ends lies what it looked for."""

from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.search import CLOSE_ENOUGH, FIRST_RATE, HIGHEST_RATE, LOWEST_RATE, Bracket

MOST_STEPS = 16


def search(limit: float) -> tuple[Bracket, list[float]]:
    """Rates up to ``limit`` are held."""
    bracket, tried = Bracket(), []
    while (rate := bracket.next_rate()) is not None:
        tried.append(rate)
        assert len(tried) <= MOST_STEPS
        bracket = bracket.after(rate, rate <= limit)
    return bracket, tried


@given(st.floats(LOWEST_RATE, HIGHEST_RATE - 1))
def test_the_limit_lies_in_the_bracket(limit: float) -> None:
    bracket, tried = search(limit)
    assert bracket.held is not None
    assert bracket.broken is not None
    assert bracket.held <= limit < bracket.broken <= bracket.held * CLOSE_ENOUGH
    assert len(set(tried)) == len(tried)


@given(st.lists(st.booleans(), min_size=MOST_STEPS, max_size=MOST_STEPS))
def test_a_machine_that_changes_its_mind(answers: list[bool]) -> None:
    bracket = Bracket()
    for held in answers:
        rate = bracket.next_rate()
        if rate is None:
            break
        assert LOWEST_RATE <= rate <= HIGHEST_RATE
        assert (bracket.held or 0) < rate < (bracket.broken or HIGHEST_RATE + 1)
        bracket = bracket.after(rate, held)
    assert bracket.next_rate() is None


def test_both_ends() -> None:
    assert search(0)[0] == Bracket(None, LOWEST_RATE)
    assert search(HIGHEST_RATE)[0] == Bracket(HIGHEST_RATE, None)
    assert search(75_000)[1] == [FIRST_RATE, 20_000, 40_000, 80_000, 60_000, 70_000, 75_000]
