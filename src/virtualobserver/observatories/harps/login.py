"""The token of the ESO archive, for products that are not public yet."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Final

from virtualobserver.config.credentials import Credentials
from virtualobserver.errors import ArchiveAnswerError, ArchiveRefused
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.token import TokenAuth

__all__ = ["TOKEN_URL", "Login"]

TOKEN_URL: Final = "https://www.eso.org/sso/oidc/token"  # noqa: S105 - an address
_EARLY: Final = 600.0
"""Seconds before its end from which a token is renewed: a long download starts with one that lasts."""


class Login:
    """Gets a token with user name and password, and a new one ten minutes before it ends.

    Parameters
    ----------
    http
        Client without credentials of its own.
    credentials
        User name and password, or a token that is used as it is.
    url, wall
        Where to ask, and seconds since 1970.
    """

    def __init__(
        self,
        http: HttpClient,
        credentials: Credentials,
        *,
        url: str = TOKEN_URL,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._http, self._credentials, self._url, self._wall = http, credentials, url, wall
        self._auth: TokenAuth | None = None
        self._until = 0.0

    def __repr__(self) -> str:
        return f"Login({self._credentials!r})"

    def auth(self, *, renew: bool = False) -> TokenAuth:
        """Return the authorisation to send.

        Raises
        ------
        ArchiveRefused
            If there are no credentials, or the archive does not take them.
        ArchiveAnswerError
            If the answer holds no token.
        """
        known = self._credentials
        if known.token:
            return TokenAuth(known.token, scheme="Bearer")
        if not (known.username and known.password):
            msg = (
                "proprietary products need a login: set VO_HARPS_USERNAME and VO_HARPS_PASSWORD, or write "
                "them to ~/.config/virtualobserver/credentials.yaml"
            )
            raise ArchiveRefused(msg)
        if self._auth is None or renew or self._wall() > self._until - _EARLY:
            self._auth, self._until = self._ask(known.username, known.password)
        return self._auth

    def _ask(self, username: str, password: str) -> tuple[TokenAuth, float]:
        params = {
            "response_type": "id_token token",
            "grant_type": "password",
            "client_id": "clientid",
            "client_secret": "clientSecret",
            "username": username,
            "password": password,
        }
        answer = self._http.get(self._url, params=params)
        try:
            token = json.loads(answer.content)["id_token"]
            payload = str(token).split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return TokenAuth(str(token), scheme="Bearer"), float(claims["exp"])
        except (ValueError, KeyError, IndexError, TypeError):
            msg = f"{answer.url}: the answer to the login holds no token"
            raise ArchiveAnswerError(msg) from None
