"""``bench --from``: the configuration of a stored run, and what may differ when it is run again."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.options import make_config, usage

if TYPE_CHECKING:
    from harness.config import BenchConfig

FREE = {
    "url": "urls",
    "metrics_url": "metrics_urls",
    "cost": "cost_usd_per_h",
    "header": "headers",
    "at": "at",
    "label": "labels",
    "out": "out",
    "force": "force",
    "allow_invalid": "allow_invalid",
    "fail_on_violation": "fail_on_violation",
    "report": "report",
}
"""Options that may be given beside --from, and their fields; others would make it another run."""

OF_THE_RUN = ("repeat", "between", "again", "quiet", "as_json")


def config_again(
    directory: str, options: Mapping[str, Any], given: Collection[str]
) -> "BenchConfig":
    """The configuration in ``directory``; of ``options`` those of FREE that were ``given``.

    Header values are in no results, and commands of a file are not run unasked: both have to be
    given again. Raises UsageError.
    """
    from harness.results.summary import load_summary
    from harness.untrusted import clean_text

    for name in sorted(given):
        if name not in FREE and name not in OF_THE_RUN:
            option = "--" + name.replace("_", "-")
            raise usage(f"--from runs the same again, without {option}; leave one of them out")
    shown = clean_text(directory)
    stored = load_summary(Path(directory)).config
    config = {key: value for key, value in stored.items() if key not in ("out", "force")}
    if config.pop("embedded", False):
        config["urls"] = ()
    if "url" in given:
        config.pop("metrics_urls", None)  # those of the other servers
    for name, field in (("header", "headers"), ("at", "at")):
        if config.pop(field, None) and name not in given:
            option = "-H" if name == "header" else "--at"
            raise usage(
                f"--from '{shown}': that run had {option}, which is not taken from a file;"
                f" give {option} again"
            )
    config |= {FREE[name]: options[FREE[name]] for name in given if name in FREE}
    return make_config(config)
