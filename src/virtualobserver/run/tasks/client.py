"""The archive as a survey's `fetch` sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from virtualobserver.config.credentials import Credentials
from virtualobserver.data.product import Known, Target
from virtualobserver.db.archive import DatabaseSlots, JobBook
from virtualobserver.errors import ArchiveError
from virtualobserver.observatory import Landed
from virtualobserver.run.steps import Step

if TYPE_CHECKING:
    from virtualobserver.io.http.client import HttpClient
    from virtualobserver.run.workspace import Workspace

__all__ = ["ArchiveClient", "fetch"]


class ArchiveClient:
    """Speaks to the live archive, to a folder, or to a survey's own simulator.

    Parameters
    ----------
    step
        What is fetched.
    workspace
        Its database hands out the turns at archive hosts, so that a rate holds over all workers.
    http
        Takes the place of the client made from the settings.
    fresh
        Ask the archive anew, whatever was kept of its answers.
    """

    def __init__(
        self, step: Step, workspace: Workspace, *, http: HttpClient | None = None, fresh: bool = False
    ) -> None:
        self._step = step
        self._workspace = workspace
        self._http = http
        self.fresh = fresh

    @property
    def origin(self) -> str:
        """One of ``live``, ``folder`` or ``simulated``."""
        return self._step.origin

    @cached_property
    def folders(self) -> Sequence[Path]:
        """Folders of the archive.

        Raises
        ------
        ArchiveError
            If a folder is not there.
        """
        folders = [Path(folder).expanduser().resolve() for folder in self._step.folders]
        for folder in folders:
            if not folder.is_dir():
                where = f"observatories.{self._step.entry}.archive"
                msg = f"{self._step.name}: the archive folder {folder} is not there; check {where}"
                raise ArchiveError(msg)
        return folders

    @cached_property
    def http(self) -> HttpClient:
        """The HTTP client, with this archive's limits and credentials."""
        if self._http is not None:
            return self._http
        # folders and simulators need none of these, and every worker would load them
        from requests.auth import HTTPBasicAuth

        from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
        from virtualobserver.io.http.ratelimit import SlotRateLimiter

        survey: Any = self._step.instance
        settings = survey.settings
        login = None
        if survey.http_login:
            known = Credentials.find(self._step.plugin)
            login = (
                HTTPBasicAuth(known.username, known.password) if known.username and known.password else None
            )
        slots = DatabaseSlots(self._workspace.database)
        return HttpClient(
            limiter=SlotRateLimiter(settings.rate, slots),
            credentials=login,
            timeouts=Timeouts(total=settings.timeout),
            retry=Retry(total=3.0 * settings.timeout),
            fresh=self.fresh,
        )

    @property
    def cache(self) -> Path:
        """Folder for answers that need not be asked twice."""
        return self._workspace.root / "cache" / self._step.plugin

    @property
    def scratch(self) -> Path:
        """Folder for downloads in progress."""
        return self._workspace.root / "tmp" / self._step.plugin

    def known(self, archive_ids: Sequence[str]) -> Mapping[str, Known]:
        """Return what is stored already of the raw data with these ids, the latest of each."""
        with self._workspace.database.session() as session:
            rows = session.execute(
                text("""
                SELECT DISTINCT ON (d.archive_id) d.archive_id, d.id, d.format, d.header
                FROM raw_data d JOIN file f ON f.id = d.file_id
                WHERE d.observatory = :survey AND d.origin = :origin AND d.archive = :archive
                  AND d.archive_id = ANY(:ids)
                  AND f.path IS NOT NULL AND NOT f.damaged
                ORDER BY d.archive_id, d.id DESC"""),
                {
                    "survey": self._step.plugin,
                    "origin": self._step.origin,
                    "archive": self._step.archive,
                    "ids": list(archive_ids),
                },
            )
            return {row.archive_id: Known(row.archive_id, row.id, row.format, row.header) for row in rows}

    @cached_property
    def jobs(self) -> JobBook:
        """Notes on requests that the archive keeps in a queue."""
        return JobBook(self._workspace.database, self._step.plugin)

    def rng(self, *names: str) -> np.random.Generator:
        """Return a generator that depends on the seed and on `names` only."""
        text = "|".join((str(self._step.seed), self._step.plugin, *names))
        return np.random.default_rng(int.from_bytes(sha256(text.encode()).digest()[:16]))

    def close(self) -> None:
        """Close the connections this client opened."""
        if self._http is None and "http" in self.__dict__:
            self.http.close()


def fetch(step: Step, targets: Sequence[Target], client: ArchiveClient) -> Iterator[Landed]:
    """Yield what the archive has on `targets`; ``archive: simulated`` asks the survey's simulator."""
    survey = step.instance
    if step.origin == "simulated" and not survey.simulated:
        for target in targets:
            yield from survey.simulate_raw([target], client.rng(target.name))
    else:
        yield from survey.fetch(targets, client)
