"""From a finished run to its results: books, findings, summary, files, closing text."""
