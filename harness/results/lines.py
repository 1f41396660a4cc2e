"""Lines of the closing text: plain, at most 80 columns, a label and what is said under it."""

import textwrap

WIDTH = 80
LABEL_CHARS = 11  # as wide as the longest label, "violations"


def labelled(label: str, text: str, indent: int = LABEL_CHARS) -> str:
    """One line, however long."""
    return f"{label:<{indent}}{text}"


def wrapped(label: str, text: str, indent: int = LABEL_CHARS) -> list[str]:
    """The text behind the label, on as many lines as it needs."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=labelled(label, "", indent),
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )


def share_text(share: float) -> str:
    """In percent."""
    return f"{100 * share:.2f} %"
