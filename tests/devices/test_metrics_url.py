"""--metrics-url: what is taken, what is refused in one line, and where a page is by default."""

import pytest

from harness.control.address import Address, parse_address
from harness.devices.metrics_url import MetricsUrl, metrics_urls, parse_metrics_url
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("http://gpu1:8002/metrics", "gpu1", 8002, "/metrics"),
        ("HTTP://GPU1:8002", "gpu1", 8002, "/metrics"),
        ("gpu1:8002/", "gpu1", 8002, "/metrics"),
        (" gpu1:9400/a/b%20c ", "gpu1", 9400, "/a/b%20c"),
        ("http://gpu1/metrics", "gpu1", 80, "/metrics"),
        ("http://[::1]:8002/metrics", "::1", 8002, "/metrics"),
        ("http://[::1]", "::1", 80, "/metrics"),
    ],
)
def test_taken(text, host, port, path):
    assert parse_metrics_url(text) == MetricsUrl(Address(host, port), path)


def test_none():
    assert parse_metrics_url(" none ") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://user:hunter2@gpu1:8002/", "credentials (not shown)"),
        ("http://gpu1:8002/metrics?token=hunter2", "query or fragment (not shown)"),
        ("http://gpu1:8002/metrics#hunter2", "query or fragment (not shown)"),
        ("https://gpu1:8002/metrics", "scheme 'https://', which is not supported"),
        ("ftp://gpu1", "scheme 'ftp://'"),
        ("http://gpu1:8002/met rics", "path"),
        ("http://gpu1:8002/\r\nX: y", "path"),
        ("http://gpu1:99999/", "port '99999' is not within 1..65535"),
        ("http://gp\x1bu1:8002", "no valid host name"),
        ("", "no valid host name"),
    ],
)
def test_refused(text, said):
    with pytest.raises(UsageError) as caught:
        parse_metrics_url(text)
    line = str(caught.value)
    assert said in line
    assert "metrics URL" in line
    assert "hunter2" not in line
    assert line.isprintable()


SERVERS = [parse_address("gpu1:8001"), parse_address("gpu2:8001")]


def test_by_default_a_port_above_each():
    assert metrics_urls(SERVERS, ()) == [
        MetricsUrl(Address("gpu1", 8002)),
        MetricsUrl(Address("gpu2", 8002)),
    ]


def test_not_another_server_nor_past_the_last_port():
    servers = [parse_address(url) for url in ("a:8001", "a:8002", "b:65535")]
    assert metrics_urls(servers, ()) == [None, MetricsUrl(Address("a", 8003)), None]


def test_as_given():
    assert metrics_urls(SERVERS, ("none",)) == [None, None]
    assert metrics_urls(SERVERS, ("none", "gpu2:9000")) == [None, MetricsUrl(Address("gpu2", 9000))]
