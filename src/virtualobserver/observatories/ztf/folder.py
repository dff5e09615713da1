"""Data a user already has: folders with light curves, bulk files or forced photometry.

Layout, all found anywhere below the folder: ``<source name>.csv`` (or ``.xml``, ``.vot``) as the light-curve
service returns it, ``<source name>.forced.txt`` and ``forcedphotometry_req*.txt`` as the forced photometry
service does, and the bulk files ``ztf_<field>_<filter>_c<ccd>_q<quadrant>_dr<N>.parquet``. Characters of a
source name that a file name cannot hold are written as ``%`` and two hexadecimal digits, e.g. ``a%2Fb.csv``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.listing import stamps
from virtualobserver.observatories.ztf import bulk, forced
from virtualobserver.observatories.ztf.raw import lightcurve_raw
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatory import Landed

__all__ = ["FolderArchive", "file_stems"]

_SUFFIXES = {".csv": "csv", ".xml": "votable", ".vot": "votable"}


def file_stems(name: str) -> tuple[str, ...]:
    """Return the names, without suffix, under which a source's file is looked for."""
    encoded = quote(name, safe=" +,-._()=@")
    if set(encoded) <= {"."}:
        encoded = encoded.replace(".", "%2E")
    return (name,) if encoded == name else (name, encoded)


class FolderArchive:
    """The files of one or several folders, listed once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        self._bulk: dict[str, list[Path]] = {}
        self._forced: list[Path] = []
        self._places: dict[Path, tuple[float, float] | None] = {}
        for folder in folders:
            if not folder.is_dir():
                msg = f"archive folder {folder} does not exist; check the setting archive"
                raise InvalidFile(msg)
            self._list(folder)

    def _list(self, folder: Path) -> None:
        for where, directories, names in os.walk(folder):
            directories.sort()
            for name in sorted(names):
                path = Path(where, name)
                self._files.setdefault(name, path)
                if (key := bulk.file_key(name)) is not None:
                    self._bulk.setdefault(key, []).append(path)
                elif name.startswith("forcedphotometry_req") and name.endswith(".txt"):
                    self._forced.append(path)

    def fetch(self, target: Target, settings: ZTFSettings) -> Iterator[Landed]:
        """Yield what the folders hold of `target`; nothing if they hold nothing."""
        try:
            raws = self._forced_raws(target, settings) if settings.mode == "forced" else self._raws(target)
            for raw in raws:
                yield target, raw
        except DataError as error:
            yield target, error
        except OSError as error:
            yield target, InvalidFile(f"source {target.name}: {error}")

    def _raws(self, target: Target) -> Iterator[Raw]:
        for stem in file_stems(target.name):
            for suffix, kind in _SUFFIXES.items():
                if (path := self._files.get(stem + suffix)) is not None:
                    raw = lightcurve_raw(path.read_bytes(), path.name, kind=kind, path=path)
                    if raw is not None:
                        yield raw
                    return
        if (oid := bulk.oid_of(target)) is not None:
            paths = self._bulk.get(bulk.key_of(oid), [])
            newest = max(paths, key=lambda path: bulk.release_of(path.name), default=None)
            if newest is not None and bulk.holds(newest, oid):
                yield bulk.raw_of(newest, oid)

    def _forced_raws(self, target: Target, settings: ZTFSettings) -> Iterator[Raw]:
        for stem in file_stems(target.name):
            if (path := self._files.get(f"{stem}.forced.txt")) is not None:
                raw = forced.raw_of(path.read_bytes(), path.name, path=path)
                if raw is not None:
                    yield raw
                return
        for path in self._near(target, settings.cone_radius):
            raw = forced.raw_of(path.read_bytes(), path.name, path=path)
            if raw is not None:
                yield raw

    def _near(self, target: Target, radius: float) -> Iterator[Path]:
        """Yield the results of the forced photometry service that were requested for the target's place."""
        for path in self._forced:
            if path not in self._places:
                self._places[path] = forced.requested_at(path)
            if forced.is_near(self._places[path], target, radius):
                yield path

    def listing(self, target: Target, settings: ZTFSettings) -> dict[str, str]:
        """Return the files that `fetch` would look into for `target`, with their stamps."""
        return stamps(self._paths(target, settings))

    def _paths(self, target: Target, settings: ZTFSettings) -> list[Path]:
        suffixes = (".forced.txt",) if settings.mode == "forced" else _SUFFIXES
        names = [stem + suffix for stem in file_stems(target.name) for suffix in suffixes]
        named = [self._files[name] for name in names if name in self._files]
        if named:
            return named
        if settings.mode == "forced":
            return list(self._near(target, settings.cone_radius))
        oid = bulk.oid_of(target)
        return [] if oid is None else self._bulk.get(bulk.key_of(oid), [])
