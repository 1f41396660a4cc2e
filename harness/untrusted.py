"""Text that others wrote, made fit to print: names from a server, words from a user."""

import unicodedata

MAX_PRINTED_CHARS = 200
MAX_CELL_CHARS = 1000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the start of a formula, full-width forms too (OWASP)."""


def clean_text(text: str, max_chars: int = MAX_PRINTED_CHARS) -> str:
    """``text`` on one line without control, format or surrogate characters, at most ``max_chars``.

    Runs of white space become one blank; what is cut off is shown as ``...``.
    """
    # Bounded before it is walked: a status text may be megabytes long.
    head = text[: 4 * max_chars]
    kept = "".join(" " if _blank(char) else char for char in head if not _unprintable(char))
    line = " ".join(kept.split())
    if len(line) > max_chars or len(head) < len(text):
        return line[: max_chars - 3] + "..."
    return line


def csv_cell(text: str, max_chars: int = MAX_CELL_CHARS) -> str:
    """A name as a cell of CSV: ``clean_text``, and never a formula to a spreadsheet.

    One that would start a formula, behind quotes and blanks too, has an apostrophe before it.
    """
    line = clean_text(text, max_chars)
    return f"'{line}" if line.lstrip("\"'` ").startswith(FORMULA_STARTS) else line


def _blank(char: str) -> bool:
    return char in "\t\n\r\v\f" or unicodedata.category(char) in ("Zl", "Zp", "Zs")


def _unprintable(char: str) -> bool:
    return char not in "\t\n\r\v\f" and unicodedata.category(char).startswith("C")
