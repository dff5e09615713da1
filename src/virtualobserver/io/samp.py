"""Tables and places to other programs on this machine, by SAMP (IVOA Simple Application Messaging Protocol 1.3)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from virtualobserver.errors import ArchiveUnavailable, DataError

__all__ = ["Hub", "connected"]

TABLE: Final = "table.load.votable"
"""The message that TOPCAT and Aladin load a table by; IVOA keeps the list of them, SampMTypes."""
PLACE: Final = "coord.pointAt.sky"
"""The message by which Aladin and ESASky turn to a position; see `TABLE`."""
_PATIENCE: Final = 60
"""Seconds in which a program has to load a table: then its file goes."""


class Hub:
    """The hub that runs, and the programs at it; made by `connected`."""

    def __init__(self, client: Any, to: str) -> None:
        self._client = client
        self._to = to.lower()

    def receivers(self, message: str) -> dict[str, str]:
        """Return the programs that understand a message: id to name.

        Raises
        ------
        ArchiveUnavailable
            If there is none, or none of the name that was asked for.
        """
        found = {
            str(one): str(self._client.get_metadata(one).get("samp.name", one))
            for one in self._client.get_subscribed_clients(message)
        }
        chosen = {one: name for one, name in found.items() if self._to in name.lower()}
        if not chosen:
            there = f"; there are {', '.join(sorted(found.values()))}" if found else ""
            msg = f"no program {self._to or 'at the SAMP hub'} takes {message}{there}; start TOPCAT or Aladin"
            raise ArchiveUnavailable(msg)
        return chosen

    def table(self, path: Path, name: str) -> list[str]:
        """Let programs load a VOTable and wait until they have; return their names.

        Raises
        ------
        ArchiveUnavailable
            As `receivers`, or if one does not answer in time.
        DataError
            If one says that it cannot load it.
        """
        values = {"url": path.resolve().as_uri(), "name": name, "table-id": name}
        return self._ask(TABLE, values)

    def point(self, ra: float, dec: float) -> list[str]:
        """Let programs turn to a position (deg, ICRS); return their names, none if no program can.

        Raises
        ------
        ArchiveUnavailable
            If one does not answer in time.
        """
        try:
            self.receivers(PLACE)
        except ArchiveUnavailable:
            return []
        return self._ask(PLACE, {"ra": repr(ra), "dec": repr(dec)})

    def _ask(self, message: str, values: dict[str, str]) -> list[str]:
        from pyvo.samp import SAMPProxyError

        told = []
        for one, name in self.receivers(message).items():
            try:
                answer = self._client.ecall_and_wait(one, message, str(_PATIENCE), **values)
            except SAMPProxyError as error:
                msg = f"{name} did not answer {message} within {_PATIENCE} s: {error}"
                raise ArchiveUnavailable(msg) from error
            if answer["samp.status"] == "samp.error":
                why = answer.get("samp.error", {}).get("samp.errortxt", "no reason given")
                msg = f"{name} could not do {message}: {why}"
                raise DataError(msg)
            told.append(name)
        return told


@contextlib.contextmanager
def connected(*, to: str = "") -> Iterator[Hub]:
    """Connect to the hub that runs on this machine; none is started.

    Parameters
    ----------
    to
        Part of the name of the program that is meant, such as ``topcat``; by default all.

    Raises
    ------
    ArchiveUnavailable
        If no hub runs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old lock file is no hub, which is said below
        from pyvo.samp import SAMPHubError, SAMPIntegratedClient, conf

        with conf.set_temp("use_internet", False):
            client = SAMPIntegratedClient(name="virtualobserver", addr="127.0.0.1")
            try:
                client.connect()
            except (SAMPHubError, OSError) as error:
                msg = "no SAMP hub runs on this machine: start TOPCAT or Aladin, each brings one, and send again"
                raise ArchiveUnavailable(msg) from error
            try:
                yield Hub(client, to)
            finally:
                client.disconnect()
