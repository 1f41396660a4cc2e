import pytest
from pydantic import SecretStr

from harness.control.headers import check_headers, parse_header, redact
from harness.errors import UsageError


def test_parse():
    name, value = parse_header("Authorization: Bearer a:b ")
    assert (name, value.get_secret_value()) == ("authorization", "Bearer a:b")


@pytest.mark.parametrize(
    "text",
    ["hunter2", ": hunter2", "x y: hunter2", "te: hunter2", "grpc-timeout: hunter2",
     "key-bin: hunter2", "key: hunter2\r\nx: y", "key: hunter2\u00e9", ":path: hunter2"],
)  # fmt: skip
def test_refused_without_the_value(text):
    with pytest.raises(UsageError) as caught:
        parse_header(text)
    assert "hunter2" not in str(caught.value)


def test_too_many():
    with pytest.raises(UsageError, match="too many"):
        check_headers([("a", SecretStr("v" * 9000))])
    with pytest.raises(UsageError, match="too many"):
        check_headers([(f"h{index}", SecretStr("")) for index in range(65)])


def test_redacts_values_and_their_words():
    headers = (("authorization", "Bearer hunter2"), ("x", "ab"), ("y", ""))
    assert redact("no: Bearer hunter2, hunter2, ab", headers) == "no: ***, ***, ab"
