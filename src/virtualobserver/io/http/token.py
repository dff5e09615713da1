"""Credentials that are one word in a header, as archives that give out tokens want them."""

from __future__ import annotations

import requests
from requests.auth import AuthBase

__all__ = ["TokenAuth"]


class TokenAuth(AuthBase):
    """Send a token in the header ``Authorization``; its value shows nowhere.

    Parameters
    ----------
    token
        As the archive gave it.
    scheme
        Word before it, e.g. ``Bearer`` (RFC 6750); none by default.
    """

    def __init__(self, token: str, *, scheme: str = "") -> None:
        self.token = token
        self._scheme = scheme

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"{self._scheme} {self.token}".lstrip()
        return request

    def __repr__(self) -> str:
        return "TokenAuth(***)"
