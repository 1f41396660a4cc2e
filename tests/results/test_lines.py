"""Lines of the closing text: within 80 columns, labels in their own column."""

import pytest

from harness.results.lines import WIDTH, labelled, share_text, wrapped


def test_a_label_and_its_text() -> None:
    assert labelled("results", "runs/x") == "results    runs/x"
    assert wrapped("finding", "word " * 30)[0].startswith("finding    word")


def test_long_text_is_indented_under_its_label() -> None:
    found = wrapped("finding", "some-thing " * 40)
    assert max(map(len, found)) <= WIDTH
    assert all(line.startswith(" " * 11 + "some-thing") for line in found[1:])
    assert " ".join(" ".join(found).split()) == "finding " + " ".join(["some-thing"] * 40)


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.00 %"), (0.0123, "1.23 %"), (1, "100.00 %")])
def test_shares(share: float, text: str) -> None:
    assert share_text(share) == text
