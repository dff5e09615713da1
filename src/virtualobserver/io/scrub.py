"""Take secrets out of anything a person or a file may come to see.

Addresses, messages and headers pass through here before they reach an exception, a log, the cache or a
database row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

__all__ = [
    "MASK",
    "host_of",
    "is_secret_name",
    "known_secrets",
    "public_headers",
    "scrub_text",
    "scrub_url",
    "secret_values",
]

MASK = "***"

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|userpass|user_?pass|[a-z_\-]*token|api[_-]?key|key|secret|client[_-]?secret"
    r"|sig(?:nature)?|x-amz-[a-z\-]+|credentials?|auth(?:orization)?|session(?:id)?|cookie|sid|e?mail"
)
_NAME = re.compile(rf"^(?:{_NAMES})$", re.IGNORECASE)
# a value ends before what separates it from the next words of a sentence
_VALUE = r"[^\s&#;,'\"<>)\]]*[^\s&#;,'\"<>)\]:.]"
_QUERY = re.compile(rf"(?i)(?<=[?&])((?:{_NAMES})=){_VALUE}")
_PAIR = re.compile(
    r"(?i)(?<![a-z0-9_\-])((?:[a-z0-9]+[_\-])*"
    r"(?:password|passwd|userpass|token|api[_\-]?key|secret|authorization)"
    rf"['\"]?\s*[=:]\s*['\"]?)(?:(?:Bearer|Basic)\s+)?{_VALUE}"
)
_USERINFO = re.compile(r"(?i)([a-z][a-z0-9+.\-]*://)[^/\s@'\"]+@")
_PRIVATE_HEADERS = frozenset(
    {"set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization", "www-authenticate"}
)
_SHORTEST_SECRET = 4


def is_secret_name(name: str) -> bool:
    """Tell whether a parameter of this name carries a secret (``password``, ``token``, ...)."""
    return _NAME.match(name) is not None


def scrub_url(url: str) -> str:
    """Return an address without user information and with secret query values masked.

    Parameters
    ----------
    url
        Any address.

    Returns
    -------
    str
        The same address; a secret value reads ``***``.
    """
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return scrub_text(url)
    netloc = parts.netloc.rpartition("@")[2]
    query = parts.query
    if any(is_secret_name(name) for name, _ in pairs):
        shown = [(name, MASK if is_secret_name(name) else value) for name, value in pairs]
        query = urlencode(shown, safe="*", quote_via=quote)
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


def scrub_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with secrets masked.

    Parameters
    ----------
    text
        A message, perhaps one of another library with an address inside.
    secrets
        Values known to be secret; values shorter than four characters are masked only by their name.
    """
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, MASK).replace(quote(secret, safe=""), MASK)
    text = _USERINFO.sub(rf"\1{MASK}@", text)
    return _PAIR.sub(rf"\1{MASK}", _QUERY.sub(rf"\1{MASK}", text))


def secret_values(*mappings: Mapping[str, object] | None) -> set[str]:
    """Return the values that stand under secret names."""
    found: set[str] = set()
    for mapping in mappings:
        for name, value in (mapping or {}).items():
            if is_secret_name(name) and value is not None:
                values = value if isinstance(value, list | tuple) else [value]
                found.update(str(item) for item in values)
    return found


def public_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return answer headers with lower-case names, without cookies and credentials."""
    return {
        name.lower(): scrub_text(value)
        for name, value in headers.items()
        if name.lower() not in _PRIVATE_HEADERS
    }


def host_of(url: str) -> str:
    """Return host and port of an address, without user information; "" where there is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def known_secrets(url: str, auth: object, *mappings: object) -> set[str]:
    """Return every value of a request that must not be shown.

    Parameters
    ----------
    url
        Its user information and query are searched.
    auth
        An authorisation object; its ``password``, ``token`` and ``secret`` count.
    *mappings
        Query parameters and form fields; anything but a mapping is passed over.
    """
    found = secret_values(*[m for m in mappings if isinstance(m, Mapping)])
    found.update(str(getattr(auth, name, "") or "") for name in ("password", "token", "secret"))
    try:
        parts = urlsplit(url)
        found.update({parts.password or "", unquote(parts.password or "")})
        found |= secret_values(dict(parse_qsl(parts.query)))
    except ValueError:
        pass
    return found - {""}
