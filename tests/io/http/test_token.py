"""Tokens in a header."""

import pytest
import requests

from virtualobserver.io.http.token import TokenAuth


@pytest.mark.parametrize(
    ("scheme", "header"), [("", "abc"), ("Bearer", "Bearer abc"), ("token", "token abc")]
)
def test_a_token_is_sent_in_the_words_of_its_archive_and_shown_nowhere(scheme, header):
    auth = TokenAuth("abc", scheme=scheme)
    asked = requests.Request("GET", "https://archive.example/", auth=auth).prepare()
    assert asked.headers["Authorization"] == header
    assert "abc" not in repr(auth)
