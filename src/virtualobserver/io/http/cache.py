"""Keep answers of archives in a folder: one file each, written whole, verified when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.http.answers import Answer
from virtualobserver.secrets import is_secret_name

__all__ = ["cache_path", "read_cached", "write_cached"]


def cache_path(folder: Path, url: str, params: Mapping[str, object] | None) -> Path:
    """Return where the answer to a question is kept; secrets do not tell questions apart."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in (params or {}).items():
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, str(item)) for item in values]
    host = parts.netloc.rpartition("@")[2]
    question = [parts.scheme, host, parts.path, sorted(p for p in pairs if not is_secret_name(p[0]))]
    return folder / f"{hashlib.sha256(json.dumps(question).encode()).hexdigest()}.answer"


def read_cached(
    folder: Path, url: str, params: Mapping[str, object] | None, *, max_age: float | None, now: float
) -> Answer | None:
    """Return a kept answer, None when there is none, it is too old, or its bytes changed.

    Parameters
    ----------
    folder, url, params
        Where, and the question.
    max_age
        In seconds; None for ever. An answer from the future counts as too old.
    now
        Seconds since 1970.
    """
    try:
        head, _, content = cache_path(folder, url, params).read_bytes().partition(b"\n")
        note = json.loads(head)
        age, status = now - float(note["fetched"]), int(note["status"])
        headers = {str(k): str(v) for k, v in note["headers"].items()}
        digest, where = str(note["sha256"]), str(note["url"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if hashlib.sha256(content).hexdigest() != digest or (max_age is not None and not 0 <= age <= max_age):
        return None
    return Answer(status=status, headers=headers, content=content, url=where, attempts=0)


def write_cached(
    folder: Path, url: str, params: Mapping[str, object] | None, answer: Answer, *, now: float
) -> Path:
    """Keep an answer; readers see the old one or the new one, never a mixture.

    Parameters
    ----------
    folder, url, params
        Where, and the question.
    answer
        Must have passed its check.
    now
        Seconds since 1970.

    Raises
    ------
    DiskFull
        If there is no room; an older answer stays.
    """
    path = cache_path(folder, url, params)
    note = {
        "fetched": now, "status": answer.status, "url": answer.url, "sha256": answer.sha256,
        "headers": answer.headers,
    }  # fmt: skip
    write_bytes(path, json.dumps(note).encode() + b"\n" + answer.content)
    return path
