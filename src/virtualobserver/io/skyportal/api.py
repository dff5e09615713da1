"""The few requests of SkyPortal's interface that an upload needs."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote, urlsplit

from virtualobserver.errors import ArchiveAnswerError, ConfigError, DataError
from virtualobserver.io.http.answers import Answer
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.token import TokenAuth
from virtualobserver.typing import Record, Value

__all__ = ["SkyPortalClient"]

_HERE: Final = ("127.0.0.1", "::1", "localhost")
_ROWS: Final = 500
"""Sources of a page: the most that the interface gives."""
_PAGES: Final = 20
"""Pages that are asked for: a name that 10,000 others hold is none to look for."""


class SkyPortalClient:
    """A SkyPortal, asked with a token. What changes something there is sent once; whoever calls may repeat it.

    Parameters
    ----------
    url
        Its address, such as ``https://fritz.science``.
    token
        Of a user who may upload data, annotate and manage sources.
    http
        Carries the requests.

    Raises
    ------
    ConfigError
        If the address is none, or would carry the token unencrypted off this machine.
    """

    def __init__(self, url: str, token: str, *, http: HttpClient) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"{url!r} is no address of a SkyPortal; write --url https://HOST or set VO_SKYPORTAL_URL"
            raise ConfigError(msg)
        if parts.scheme == "http" and parts.hostname not in _HERE:
            msg = f"{url}: the token would travel unencrypted; write https://"
            raise ConfigError(msg)
        self.url = url.rstrip("/")
        self._http = http.with_credentials(TokenAuth(token, scheme="token"))

    def is_saved(self, source: str, group: int) -> bool:
        """Whether a group has a source already.

        `sourceID` finds every name that holds this one, in any case and by the name at the TNS too: a page after the
        other is asked for.
        """
        for page in range(1, _PAGES + 1):
            params = {"sourceID": source, "group_ids": str(group), "numPerPage": _ROWS, "pageNumber": page}
            found = self._data(self._http.get(f"{self.url}/api/sources", params=params))
            listed = found.get("sources") if isinstance(found, dict) else None
            if any(isinstance(one, dict) and one.get("id") == source for one in listed or ()):
                return True
            total = found.get("totalMatches") if isinstance(found, dict) else None
            if not listed or (isinstance(total, int) and page * _ROWS >= total):
                return False
        msg = f"{self.url} has more than {_PAGES * _ROWS} sources with {source!r} in their names: give it a longer name"
        raise DataError(msg)

    def save(self, payload: Record) -> None:
        """Save a source to groups; one that is there stays as it is."""
        self._data(self._http.post(f"{self.url}/api/sources", json=payload, repeat=False))

    def unsave(self, source: str, groups: list[int]) -> None:
        """Take a source out of groups."""
        payload = {"objId": source, "inviteGroupIds": [], "unsaveGroupIds": groups}
        self._data(self._http.post(f"{self.url}/api/source_groups", json=payload, repeat=False))

    def photometry(self, payload: Record) -> tuple[str | None, list[int]]:
        """Upload points; those that are there already are not added again (PUT).

        Returns
        -------
        tuple
            The id by which the new points can be deleted, None if all were there, and the numbers of all.
        """
        found = self._data(self._http.put(f"{self.url}/api/photometry", json=payload, repeat=False))
        if not isinstance(found, dict) or not isinstance(found.get("ids"), list):
            raise self._strange("ids", found)
        upload = found.get("upload_id")
        return (None if upload is None else str(upload)), [int(one) for one in found["ids"]]

    def delete_upload(self, upload: str) -> None:
        """Delete the points of an upload."""
        self._http.delete(f"{self.url}/api/photometry/bulk_delete/{quote(upload, safe='')}", repeat=False)

    def delete_point(self, point: int) -> None:
        """Delete one point."""
        self._http.delete(f"{self.url}/api/photometry/{point}", repeat=False)

    def annotations(self, source: str, origin: str) -> list[int]:
        """Return the numbers of the annotations of a source that come from `origin`."""
        found = self._data(self._http.get(self._annotations(source)))
        listed = found if isinstance(found, list) else []
        return [int(one["id"]) for one in listed if isinstance(one, dict) and one.get("origin") == origin]

    def annotate(self, source: str, payload: Record, number: int | None = None) -> int:
        """Write an annotation, or the one of a number anew; return its number."""
        if number is not None:
            self._data(self._http.put(f"{self._annotations(source)}/{number}", json=payload, repeat=False))
            return number
        found = self._data(self._http.post(self._annotations(source), json=payload, repeat=False))
        if not isinstance(found, dict) or "annotation_id" not in found:
            raise self._strange("annotation_id", found)
        return int(found["annotation_id"])

    def delete_annotation(self, source: str, number: int) -> None:
        """Delete an annotation."""
        self._http.delete(f"{self._annotations(source)}/{number}", repeat=False)

    def _annotations(self, source: str) -> str:
        return f"{self.url}/api/sources/{quote(source, safe='')}/annotations"

    def _data(self, answer: Answer) -> Value:
        try:
            told = json.loads(answer.content)
        except ValueError:
            msg = f"{answer.url}: the answer is not JSON; is this a SkyPortal?"
            raise ArchiveAnswerError(msg) from None
        if not isinstance(told, dict) or told.get("status") != "success":
            words = str(told.get("message") if isinstance(told, dict) else told)[:300]
            msg = f"{answer.url}: {words or 'no success'}"
            raise ArchiveAnswerError(msg)
        return told.get("data")

    def _strange(self, missing: str, found: Value) -> ArchiveAnswerError:
        msg = f"{self.url}: the answer has no {missing}: {str(found)[:200]}"
        return ArchiveAnswerError(msg)
