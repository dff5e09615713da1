"""Sending candidates so that nothing is sent twice, and undoing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from virtualobserver.errors import ArchiveRefused, ConfigError, DataError
from virtualobserver.io.skyportal.api import SkyPortalClient
from virtualobserver.io.skyportal.ledger import Ledger, Upload
from virtualobserver.io.skyportal.payload import (
    Candidate,
    Destination,
    digest,
    point_keys,
    requests_of,
    source_id,
)
from virtualobserver.typing import Record, RecordDict

__all__ = ["Sent", "send", "undo"]

_COLUMNS = ("mjd", "flux", "fluxerr")


@dataclass
class Sent:
    """What an upload did: its id (empty where nothing was new), and numbers of what was sent."""

    id: str = ""
    sources: int = 0
    points: int = 0
    annotations: int = 0


class _Known:
    """What the SkyPortal has from here already, by all uploads that were not undone."""

    def __init__(self, uploads: Sequence[Upload], url: str, groups: tuple[int, ...]) -> None:
        self._uploads = [one for one in uploads if one.url == url and one.state != "undone"]
        self._groups = set(groups)

    def entries(self, source: str) -> Iterator[RecordDict]:
        for one in self._uploads:
            if self._groups <= set(one.groups) and source in one.sources:
                yield one.sources[source]

    def annotation(self, source: str) -> RecordDict:
        """Return the last annotation of a source, for whatever groups, as there is one for each origin; or nothing."""
        told = [one.sources[source]["annotation"] for one in self._uploads if source in one.sources]
        found = [one for one in told if one.get("state") == "sent"]
        return found[-1] if found else {}

    def saved(self, source: str) -> bool:
        return any(one.get("save", {}).get("state") == "sent" for one in self.entries(source))

    def points(self, source: str) -> set[str]:
        parts = (part for one in self.entries(source) for part in one["photometry"])
        return {key for part in parts if part["state"] == "sent" for key in part["points"]}


def send(
    candidates: Sequence[Candidate],
    where: Destination,
    portal: SkyPortalClient,
    ledger: Ledger,
    *,
    project: str,
    told: Callable[[str], None] = lambda _: None,
) -> Sent:
    """Send sources, their photometry and annotations; what was sent before is left out.

    After an error the upload stays open, and the next call goes on with it.

    Parameters
    ----------
    candidates
        What to send.
    where
        Groups, instrument, names of filters.
    portal, ledger
        The SkyPortal, and the record of what it has; the latter has to be locked.
    project
        Name of the project.
    told
        Called with the name of each source that is complete.

    Raises
    ------
    ArchiveError
        If the SkyPortal does not answer, or refuses.
    DataError, ConfigError
        If a candidate cannot be sent, or two have the same id there; nothing is sent then.
    """
    planned = [(one.name, *requests_of(one, where)) for one in candidates]
    _check_names([one.name for one in candidates])
    upload = ledger.begin(portal.url, project, where.groups)
    known = _Known(ledger.uploads(), portal.url, where.groups)
    sent = Sent()
    for name, source, photometry, annotation in planned:
        job = _Job(upload, ledger, portal, known, sent, name, source["id"])
        job.save(source)
        for payload in photometry:
            job.photometry(payload)
        job.annotate(annotation)
        told(name)
    if upload.sources:
        upload.state = "done"
        ledger.write(upload)
        sent.id = upload.id
    return sent


def _check_names(names: Sequence[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        other = taken.setdefault(source_id(name), name)
        if other != name:
            msg = f"{name!r} and {other!r} are both {source_id(name)} at SkyPortal; rename one"
            raise DataError(msg)


@dataclass
class _Job:
    """One source on its way."""

    upload: Upload
    ledger: Ledger
    portal: SkyPortalClient
    known: _Known
    sent: Sent
    name: str
    id: str

    def _mark(self, part: RecordDict, state: str, **facts: object) -> None:
        part.update(state=state, **facts)
        self.ledger.write(self.upload)

    def _entry(self) -> RecordDict:
        fresh: RecordDict = {"name": self.name, "save": {}, "photometry": [], "annotation": {}}
        return self.upload.sources.setdefault(self.id, fresh)

    def save(self, payload: Record) -> None:
        if self.known.saved(self.id):
            return
        part = self._entry()["save"]
        if "before" not in part:  # groups that had it without us, and keep it when this is undone
            part["before"] = [one for one in payload["group_ids"] if self.portal.is_saved(self.id, one)]
        self._mark(part, "sending")
        self.portal.save(payload)
        self._mark(part, "sent")
        self.sent.sources += 1

    def photometry(self, payload: Record) -> None:
        keys = point_keys(payload)
        there = self.known.points(self.id)
        new = [row for row, key in enumerate(keys) if key not in there]
        if not new:
            return
        chosen = {**payload, **{name: [payload[name][row] for row in new] for name in _COLUMNS}}
        sending = [keys[row] for row in new]
        parts = self._entry()["photometry"]
        parts[:] = [one for one in parts if one["state"] != "refused"]
        part = next(
            (one for one in parts if one["state"] == "sending" and set(one["points"]) <= set(sending)), None
        )
        if part is None:
            part = {"doubt": False}
            parts.append(part)
        else:
            part["doubt"] = True  # it may have arrived, under an id that nobody heard of
        self._mark(part, "sending", points=sending)
        try:
            upload, numbers = self.portal.photometry(chosen)
        except ArchiveRefused:
            self._mark(part, "refused")  # nothing of it is there
            raise
        self._mark(part, "sent", upload_id=upload, ids=numbers)
        self.sent.points += len(new)

    def annotate(self, payload: Record) -> None:
        last = self.known.annotation(self.id)
        groups = sorted({*payload["group_ids"], *last.get("groups", ())})  # who saw it goes on seeing it
        payload = {**payload, "group_ids": groups}
        print_of = digest(payload)
        if not payload["data"] or last.get("digest") == print_of:
            return
        part = self._entry()["annotation"]
        number = last.get("id")
        if number is None and part.get("state") == "sending":
            number = next(iter(self.portal.annotations(self.id, payload["origin"])), None)
        self._mark(part, "sending", digest=print_of, groups=groups)
        self._mark(part, "sent", id=self.portal.annotate(self.id, payload, number))
        self.sent.annotations += 1


def undo(number: str, portal: SkyPortalClient, ledger: Ledger) -> Sent:
    """Take an upload back: annotations and points are deleted, sources leave the groups they were saved to by it.

    What a group had before stays there. After an error the next call goes on.

    Raises
    ------
    ConfigError
        If there is no such upload, it went elsewhere, or it is undone already.
    ArchiveError
        If the SkyPortal does not answer, or refuses.
    """
    upload = ledger.get(number)
    if upload.url != portal.url:
        msg = f"upload {number} went to {upload.url}; give that address"
        raise ConfigError(msg)
    if upload.state == "undone":
        msg = f"upload {number} is undone already"
        raise ConfigError(msg)
    for name, entry in upload.sources.items():
        if any(part["state"] == "sending" for part in entry["photometry"]):
            msg = f"{name}: points whose answer was lost may be there; run the upload again, then undo it"
            raise DataError(msg)
    upload.state = "undoing"
    ledger.write(upload)
    gone = Sent(upload.id)
    back = _Back(upload, ledger, portal, gone)
    for name, entry in upload.sources.items():
        back.take(name, entry)
        _forget_annotation(name, entry["annotation"].get("id"), ledger)
    upload.state = "undone"
    ledger.write(upload)
    return gone


def _forget_annotation(source: str, number: int | None, ledger: Ledger) -> None:
    """Say in other uploads, which wrote the same annotation before, that it is gone."""
    for other in ledger.uploads() if number is not None else ():
        annotation = other.sources.get(source, {}).get("annotation", {})
        if annotation.get("id") == number and annotation["state"] == "sent":
            annotation["state"] = "undone"
            ledger.write(other)


@dataclass
class _Back:
    """An upload on its way back."""

    upload: Upload
    ledger: Ledger
    portal: SkyPortalClient
    gone: Sent

    def take(self, name: str, entry: RecordDict) -> None:
        """Delete what was sent of one source."""
        annotation, save, groups = entry["annotation"], entry["save"], self.upload.groups
        if annotation.get("id") is not None:
            self._part(annotation, partial(self.portal.delete_annotation, name, annotation["id"]))
            self.gone.annotations += 1
        for part in entry["photometry"]:
            if part["state"] != "refused":
                self._part(part, partial(self._points, name, part))
                self.gone.points += len(part["points"])
        if ours := [one for one in groups if one not in save.get("before", groups)]:
            self._part(save, partial(self.portal.unsave, name, ours))
            self.gone.sources += 1

    def _part(self, part: RecordDict, delete: Callable[[], None]) -> None:
        state = part.get("state")
        if state == "undone":
            return
        part["state"] = "undoing"
        self.ledger.write(self.upload)
        try:
            delete()
        except ArchiveRefused:
            if state != "undoing":
                raise
            # the answer to an earlier try was lost: it is gone
        part["state"] = "undone"
        self.ledger.write(self.upload)

    def _points(self, name: str, part: Record) -> None:
        if not part["doubt"]:
            if part["upload_id"] is not None:  # else all were there before
                self.portal.delete_upload(part["upload_id"])
            return
        others = (one for one in self.ledger.uploads() if one.id != self.upload.id and name in one.sources)
        theirs = {
            number
            for one in others
            for other in one.sources[name]["photometry"]
            for number in other.get("ids", ())
        }
        for number in part["ids"]:
            if number not in theirs:
                self.portal.delete_point(number)
