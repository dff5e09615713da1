"""What must never be shown, taken out of anything that a person or a file may come to see.

Addresses, messages, headers and tracebacks pass through here before they reach an exception, a log, the cache or a
row of the database. This module knows names and forms of secrets; the secrets themselves are given to it.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

__all__ = [
    "MASK",
    "holds_password",
    "host_of",
    "is_secret_name",
    "public_headers",
    "request_secrets",
    "scrub",
    "scrub_url",
    "secret_values",
]

MASK: Final = "***"

_CLEAR: Final = (
    r"(?:pg|db|my)?pass(?:word|wd|phrase)|userpass|(?:user|db)[_\-]?pass|pwd"
    r"|(?:access|auth|id|session|refresh|bearer|csrf|user)?[_\-]?token|(?:api|private|secret|auth)[_\-]?key"
    r"|access[_\-]?key(?:[_\-]?id)?"
    r"|(?:client|app|consumer|shared)?[_\-]?secret(?:[_\-]?key)?|signature|credentials?"
)
"""Names that mean a secret wherever they stand."""
_DOUBTFUL: Final = r"sig|sid|session(?:[_\-]?id)?|jsessionid|phpsessid|auth|passcode|nonce"
"""Names that mean one in a query, and in a sentence only where something long is tied to them by ``=``."""
_QUERY_ONLY: Final = r"key|pass|user|username|e[_\-]?mail|login|x-amz-[a-z\-]+|authorization|cookie"
_PREFIX: Final = r"(?:[a-z0-9]+[_\-])*"
_NAME: Final = re.compile(rf"(?i)(?:{_PREFIX}(?:{_CLEAR})|{_DOUBTFUL}|{_QUERY_ONLY})")

_CLEAR_NAME: Final = re.compile(rf"(?i){_PREFIX}(?:{_CLEAR})")

# A value ends at a blank, a quote or an ampersand; what closes a sentence or a bracket is not its own.
_VALUE: Final = r"[^\s&'\"<>]*[^\s&'\"<>.,:;)\]}]"
_QUERY: Final = re.compile(
    rf"(?i)((?:[?&;]|%3F|%26)(?:{_PREFIX}(?:{_CLEAR})|{_DOUBTFUL}|{_QUERY_ONLY})(?:=|%3D))(?:(?!%26)[^\s&#'\"<>])*"
    r"(?<![.,:;)\]}])"
)
_QUOTED: Final = re.compile(
    rf"(?i)((?<![a-z0-9_\-]){_PREFIX}(?:{_CLEAR}|passcode|jsessionid)\\?['\"]?\s*[=:]\s*[bru]?)(\\?['\"])(.*?)\2"
)
_PAIR: Final = re.compile(
    rf"(?i)((?<![a-z0-9_\-]){_PREFIX}(?:{_CLEAR})['\"]?\s*[=:]\s*)(?!['\"*]|\\['\"]){_VALUE}"
)
_TIED: Final = re.compile(rf"(?i)((?<![a-z0-9_\-])(?:{_DOUBTFUL})=)(?=[^\s&'\"<>]{{6}}){_VALUE}")
_EMAIL: Final = re.compile(
    r"(?i)((?<![a-z0-9_\-])e[_\-]?mail['\"]?\s*[=:]\s*['\"]?)[^\s&'\"<>,;]+(?:@|%40)[^\s&'\"<>,;)\]}]+"
)
_HEADER: Final = re.compile(
    r"(?i)((?<![a-z0-9])(?:proxy-)?authorization['\"]?\s*[:=]\s*(?:b(?=['\"]))?['\"]?(?:(?:basic|bearer|token|digest|negotiate|apikey)\s+)?)"
    r"[^\r\n'\"]*[^\r\n'\"\s.,;:)\]}]"
)
_BARE: Final = re.compile(r"(?i)(?<![a-z0-9])((?:basic|bearer)\s+)[a-z0-9+/_\-.~]{12,}={0,2}")
_COOKIE: Final = re.compile(
    r"(?i)((?<![a-z0-9])(?:set-)?cookie2?['\"]?\s*:\s*(?:b(?=['\"]))?['\"]?)[^\r\n'\"]*[^\r\n'\"\s]"
)
_USERINFO: Final = re.compile(r"(?i)([a-z][a-z0-9+.\-]*://)([^/\s:@'\"<>]*)(:[^/\s'\"<>]*)?@")
_PRIVATE_HEADERS: Final = frozenset(
    {"set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization", "www-authenticate"}
)
_SHORTEST: Final = 4
"""Characters of a known secret that is looked for inside of words; a shorter one only as a whole word."""
_SHORTEST_CORE: Final = 8
"""Characters in base 64 that do not occur by chance."""


def is_secret_name(name: str, *, anywhere: bool = False) -> bool:
    """Tell whether a parameter of this name carries a secret (``password``, ``token``, ...).

    With `anywhere` only names count that mean one outside of a query as well (``key`` and ``sid`` do not).
    """
    return (_CLEAR_NAME if anywhere else _NAME).fullmatch(name) is not None


def holds_password(text: str) -> bool:
    """Tell whether a text holds an address with a password in it."""
    return any(found[3] for found in _USERINFO.finditer(text))


def scrub(text: str, secrets: Iterable[str] = (), *, users: bool = False) -> str:
    """Return a text with secrets masked.

    Parameters
    ----------
    text
        A message, an address, a traceback, a line of a log.
    secrets
        Values known to be secret: masked as they are, quoted for addresses, JSON or HTML, and in base 64, also
        together with a user name.
    users
        Keep the user name in an address (``postgresql://vo:***@db``) instead of masking it as well.

    Returns
    -------
    str
        The text with ``***`` for each secret, and for what follows a name of a secret.
    """
    for pattern in _patterns(secrets):
        text = pattern.sub(MASK, text)
    text = _USERINFO.sub(lambda found: _without_password(found, users=users), text)
    for pattern in (_HEADER, _COOKIE, _QUERY, _PAIR, _TIED, _EMAIL, _BARE):
        text = pattern.sub(rf"\1{MASK}", text)
    return _QUOTED.sub(rf"\1\2{MASK}\2", text)


def _patterns(secrets: Iterable[str]) -> Iterator[re.Pattern[str]]:
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    for secret in known:
        if len(secret) < _SHORTEST:
            yield re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
            continue
        for core in _cores(secret):
            yield re.compile(rf"[A-Za-z0-9+/_\-]*{re.escape(core)}[A-Za-z0-9+/_\-]*={{0,2}}")
        forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
        forms |= {html.escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.encode().hex()}
        yield re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


def _cores(secret: str) -> Iterator[str]:
    """Return what every base 64 of something with the secret inside holds, for its three positions."""
    for shift in range(3):
        padded = b"\0" * shift + secret.encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(padded).decode()[(0, 2, 3)[shift] : len(padded) * 8 // 6]
            if len(core) >= _SHORTEST_CORE:
                yield core


def _without_password(found: re.Match[str], *, users: bool) -> str:
    scheme, user, password = found.groups()
    if not users:
        return f"{scheme}{MASK}@"
    return f"{scheme}{user}:{MASK}@" if password else found[0]


def scrub_url(url: str) -> str:
    """Return an address without user information and fragment, with secret query values masked.

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
        return scrub(url)
    netloc = parts.netloc.rpartition("@")[2]
    query = parts.query
    if any(is_secret_name(name) for name, _ in pairs):
        shown = [(name, MASK if is_secret_name(name) else value) for name, value in pairs]
        query = urlencode(shown, safe="*", quote_via=quote)
    return urlunsplit((parts.scheme, netloc, parts.path, query, ""))


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
        name.lower(): scrub(value) for name, value in headers.items() if name.lower() not in _PRIVATE_HEADERS
    }


def host_of(url: str) -> str:
    """Return host and port of an address, without user information; "" where there is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def request_secrets(url: str, auth: object, *mappings: object) -> set[str]:
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
