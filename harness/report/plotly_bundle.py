"""plotly.js, as the Python package ships it."""

import re
from importlib import resources

from harness.errors import ResultsError

MISSING = "charts need the package plotly; pip install 'triton-harness[report]'"

STYLE_ID = re.compile(r'document\.getElementById\("([0-9a-f]{32,64})"\)')


def plotly_js() -> str:
    """The minified library, fit to stand in a script element. Raises ResultsError."""
    try:
        file = resources.files("plotly") / "package_data" / "plotly.min.js"
        code = file.read_bytes().decode("utf-8")
    except ImportError:
        raise ResultsError(MISSING) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read plotly.js of the package plotly: {error}") from None
    if "</script" in code.lower() or "<!--" in code:
        # Within its string literals the backslash changes nothing; anywhere else it is no script.
        code = code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    # A browser reads line ends this way, and hashes what it has read.
    return code.replace("\r\n", "\n").replace("\r", "\n")


def style_ids(code: str) -> list[str]:
    """Of style elements it would make, of maps that no page has; it leaves those that are there."""
    return sorted(set(STYLE_ID.findall(code)))
