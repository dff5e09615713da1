"""User names, passwords and tokens: from the environment or a private file, never from a project."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from virtualobserver.config import yamlfile
from virtualobserver.config.tree import Entry, Tree, plain
from virtualobserver.errors import ConfigError
from virtualobserver.secrets import MASK, holds_password, is_secret_name
from virtualobserver.secrets import scrub as hide

__all__ = ["MASK", "Credentials", "credentials_file", "known_secrets", "refuse_secrets", "scrub"]

_PARTS: Final = ("username", "password", "token")
_VARIABLE: Final = re.compile(r"VO_[A-Z0-9_]*(PASSWORD|TOKEN|SECRET)")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an archive asks for; shows itself masked.

    Attributes
    ----------
    observatory
        Name of the survey.
    username, password, token
        None where nothing was given.
    origin
        ``environment``, ``file``, or empty where nothing was found.
    """

    observatory: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    origin: str = ""

    @classmethod
    def find(
        cls, observatory: str, *, env: Mapping[str, str] | None = None, file: Path | None = None
    ) -> Credentials:
        """Look for the credentials of a survey.

        ``VO_<SURVEY>_USERNAME``, ``_PASSWORD`` and ``_TOKEN`` in the environment win over the section of the
        survey's name in the file.

        Parameters
        ----------
        observatory
            Name of the survey.
        env
            The environment; the process's own if not given.
        file
            The file; `credentials_file` if not given.

        Raises
        ------
        ConfigError
            The file can be read by others, or is not what it should be.
        """
        env = os.environ if env is None else env
        prefix = "VO_" + re.sub(r"[^A-Z0-9]", "_", observatory.upper())
        found = {part: value for part in _PARTS if (value := env.get(f"{prefix}_{part.upper()}"))}
        stored = _sections(file, env).get(observatory.lower(), {})
        origin = "environment" if found else "file" if stored else ""
        return cls(observatory=observatory, origin=origin, **(stored | found))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must not be shown."""
        return tuple(value for value in (self.password, self.token) if value)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.token)

    def __repr__(self) -> str:
        shown = ", ".join(f"{part}={MASK!r}" for part in _PARTS if getattr(self, part))
        return f"Credentials({self.observatory!r}{', ' if shown else ''}{shown})"


def credentials_file(env: Mapping[str, str] | None = None) -> Path:
    """Return the path of the private file: ``VO_CREDENTIALS``, else the user's configuration folder."""
    env = os.environ if env is None else env
    if given := env.get("VO_CREDENTIALS"):
        return Path(given).expanduser()
    folder = env.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "virtualobserver" / "credentials.yaml"


def known_secrets(*, env: Mapping[str, str] | None = None, file: Path | None = None) -> tuple[str, ...]:
    """Collect the secrets of the environment and of the private file.

    Raises
    ------
    ConfigError
        As for `Credentials.find`.
    """
    stored = _sections(file, env).values()
    of_file = [part[key] for part in stored for key in ("password", "token") if key in part]
    return tuple(dict.fromkeys([*_of_environment(os.environ if env is None else env), *of_file]))


def scrub(text: str, *, env: Mapping[str, str] | None = None, secrets: Iterable[str] = ()) -> str:
    """Mask secrets in a text that people will see.

    Parameters
    ----------
    text
        A message, a URL, a traceback, a line of a log.
    env
        Its ``VO_…_PASSWORD``, ``VO_…_TOKEN`` and the passwords in ``VO_DATABASE_URL`` and ``VO_READER_URL`` are
        masked, also where they are quoted for a URL or written in base 64; the process's own environment if not given.
    secrets
        Further secrets, such as `known_secrets` gives for the private file.

    Returns
    -------
    str
        The text with ``***`` for each secret, for the password in any URL, and for whatever follows
        ``Authorization:``, ``password=`` and ``token=``.
    """
    known = (*secrets, *_of_environment(os.environ if env is None else env))
    return hide(text, known, users=True)


def refuse_secrets(tree: Tree) -> None:
    """Refuse a configuration that holds a secret, without repeating it.

    Raises
    ------
    ConfigError
        A key is called ``password``, ``token`` or alike, or a value is a URL with a password.
    """
    for key, entry in tree.items():
        _refuse_in(key, entry.value, entry)


def _refuse_in(key: str, value: object, entry: Entry) -> None:
    if is_secret_name(key, anywhere=True):
        msg = (
            f"{entry.place}: {key}: secrets do not belong into a project, whose settings are stored and "
            "shared; set VO_<SURVEY>_PASSWORD or VO_<SURVEY>_TOKEN in the environment, or write them to "
            "~/.config/virtualobserver/credentials.yaml"
        )
        raise ConfigError(msg)
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            inner_entry = inner if isinstance(inner, Entry) else entry.holding(inner)
            _refuse_in(str(inner_key), inner_entry.value, inner_entry)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_in("", item, entry)
    elif isinstance(value, str) and holds_password(value):
        msg = f"{entry.place}: {key}: the address holds a password; take it out and use the environment"
        raise ConfigError(msg)


def _of_environment(env: Mapping[str, str]) -> list[str]:
    secrets = [value for name, value in env.items() if value and _VARIABLE.fullmatch(name)]
    for name in ("VO_DATABASE_URL", "VO_READER_URL"):
        try:
            password = urlsplit(env.get(name, "")).password
        except ValueError:  # not an address at all; whoever connects to it will say so
            continue
        secrets += [password, unquote(password)] if password else []
    return secrets


def _sections(file: Path | None, env: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    path = file if file is not None else credentials_file(env)
    if not path.is_file():
        named = file is not None or (os.environ if env is None else env).get("VO_CREDENTIALS")
        if named:
            msg = f"{path}: there is no such file of credentials"
            raise ConfigError(msg)
        return {}
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        msg = f"{path}: others can read these credentials; run: chmod 600 {path}"
        raise ConfigError(msg)
    sections: dict[str, dict[str, str]] = {}
    for name, section in plain(yamlfile.read(path)).items():
        if not isinstance(section, dict) or not set(section) <= set(_PARTS):
            msg = f"{path}: {name}: should hold username, password or token, and nothing else"
            raise ConfigError(msg)
        sections[name.lower()] = {key: str(value) for key, value in section.items() if value is not None}
    return sections
