"""The exposures of targets: what is new is downloaded, exposure by exposure, and one that fails stops no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from virtualobserver.data.product import Known, Missing, Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveUnavailable,
    DataError,
    InvalidFile,
)
from virtualobserver.io.fits.files import part_names
from virtualobserver.io.names import safe_name
from virtualobserver.observatories.decam.folder import CAMERA, exposures_of, raws_of
from virtualobserver.observatories.decam.names import IMAGE
from virtualobserver.observatories.decam.noirlab.client import NOIRLabArchive
from virtualobserver.observatories.decam.noirlab.listing import ArchiveFile, ExposureFiles
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.observatories.decam.settings import DECamSettings
    from virtualobserver.observatory import Client, Landed

__all__ = ["CHIPS", "LiveArchive"]

CHIPS: Final = tuple(f"{side}{number}" for side in "NS" for number in range(1, 32))
"""EXTNAME of all chips of the camera; not every file has all of them."""
_GIVE_UP: Final = 3
"""Exposures in a row that an archive out of reach does not give: it is down, and the next run goes on."""


class LiveArchive:
    """Drift exposures of targets, and pointed ones of the same field, from the live archive."""

    def __init__(self, client: Client, settings: DECamSettings) -> None:
        self._client, self._settings = client, settings
        self._archive = NOIRLabArchive(client.http, settings.noirlab)

    def fetch(self, target: Target) -> Iterator[Landed]:
        """Yield the planes of all chips of a target's exposures as they come, and at the end what is missing.

        An exposure comes whole or not at all, so that nothing is reduced without its mask and then again with it.
        """
        try:
            exposures = self.find(target)
        except (ArchiveError, DataError) as error:
            yield target, error
            return
        failed: list[tuple[str, ArchiveError | DataError]] = []
        in_a_row = 0
        for exposure in exposures:
            try:
                for raw in self._landed(exposure, target):
                    yield target, raw
                in_a_row = 0
            except (ArchiveError, DataError) as error:
                failed.append((exposure.image.name, error))
                in_a_row = in_a_row + 1 if isinstance(error, ArchiveUnavailable) else 0
                if in_a_row >= _GIVE_UP:
                    break
        if not exposures:
            yield target, Missing("the archive lists no drift exposure within field_radius of its position")
        if failed:
            # one that may come with the next run says that a next run is worth it
            name, first = min(failed, key=lambda one: one[1].kind != "retryable")
            msg = (
                f"{len(failed)} of {len(exposures)} exposures of {target.name} missing, e.g. {name}: {first}"
            )
            yield target, type(first)(msg)

    def find(self, target: Target) -> list[ExposureFiles]:
        """Return the exposures of a target: pointed ones first; none at all if no drift exposure is listed.

        Raises
        ------
        ArchiveError
            If the archive does not answer, or with an error.
        DataError
            If the target has no position.
        """
        if target.ra is None or target.dec is None:
            msg = f"source {target.name} has no position; give ra and dec in the catalogue"
            raise DataError(msg)
        cone = (target.ra, target.dec, self._settings.field_radius)
        drift = self._archive.exposures(cone=cone)
        if not drift or self._settings.reference_catalogue is not None:
            return drift
        own = self._settings.noirlab.pointed
        found: dict[int, ExposureFiles] = {}
        for band in own.bands:
            listed = self._archive.exposures(cone=cone, pointed=band)
            deepest = sorted(listed, key=lambda one: (-one.exptime, one.expnum))
            found |= {one.expnum: one for one in deepest[: own.most]}
        return list(({one.expnum: one for one in drift} | found).values())

    # --- one exposure -------------------------------------------------------------------------------------

    def _landed(self, exposure: ExposureFiles, target: Target) -> Sequence[Raw | Known]:
        """Return the planes of an exposure's chips: known ones, and what was downloaded now."""
        files = [one for one in exposure.files if one is exposure.image or self._settings.read_mask]
        planes = [self._plane(file) for file in files]
        missing = self._missing(planes)
        folder = self._folder(target) / exposure.caldat
        if missing is None:
            return self._download(planes, folder)
        known = [
            one
            for plane in planes
            for ccd, one in plane.have.items()
            if ccd not in missing and (self._settings.ccd is None or ccd in self._settings.ccd)
        ]
        return [*known, *(self._download(planes, folder, missing) if missing else ())]

    def _plane(self, file: ArchiveFile) -> _Plane:
        names = {f"{file.name}[{ccd}]": ccd for ccd in CHIPS}
        have = {
            names[name]: replace(one, owner=None if one.header["drift"] else CAMERA)
            for name, one in self._client.known(list(names)).items()
            if one.header.get("md5") == file.md5
        }
        said = next((one.header["parts"] for one in have.values()), None)
        if said is None and self._settings.ccd is not None:
            said = self._archive.hdus(file)
        return _Plane(file, have, None if said is None else frozenset(map(str, said)))

    def _missing(self, planes: Sequence[_Plane]) -> frozenset[str] | None:
        """Return the chips that have to be got; None for whole files."""
        if self._settings.ccd is None:
            whole = all(plane.chips is not None and plane.chips <= plane.have.keys() for plane in planes)
            return frozenset() if whole else None
        image = planes[0]
        wanted = frozenset(self._settings.ccd) & (image.chips or frozenset())
        if not wanted:
            msg = f"{image.file.name} has none of the CCDs {', '.join(self._settings.ccd)}"
            raise ArchiveAnswerError(msg)
        # all planes of a chip: what one says is read together with the others
        return frozenset(
            ccd
            for ccd in wanted
            if any(ccd in (plane.chips or ()) and ccd not in plane.have for plane in planes)
        )

    def _download(
        self, planes: Sequence[_Plane], folder: Path, ccds: frozenset[str] | None = None
    ) -> list[Raw | Known]:
        files: list[tuple[Path, str]] = []
        about: dict[str, RecordDict] = {}
        for plane in planes:
            file = plane.file
            numbers = None
            if ccds is not None:
                listed = self._archive.hdus(file)
                numbers = [listed[ccd] for ccd in sorted(ccds) if ccd in listed]
                if not numbers:
                    continue
            path = self._archive.download(file, folder, hdus=numbers)
            files.append((path, file.name))
            parts = part_names(path) if plane.chips is None else plane.chips
            about[file.name] = {"md5": file.md5, "parts": sorted(parts)}
        landed: list[Raw | Known] = []
        # a folder the user named is a mirror: it stays as it is, and later runs find it there
        mirror = self._settings.noirlab.downloads is not None
        for found in exposures_of(files, self._settings):
            raws = list(raws_of(found, self._settings))
            if found.problem or IMAGE not in found.files:
                raise InvalidFile(found.problem or f"{files[0][1]}: no image of an exposure")
            for raw in raws:
                name, header = f"{raw.archive_id}[{raw.key}]", {**raw.header, **about[raw.archive_id]}
                landed.append(replace(raw, archive_id=name, in_place=mirror, header=header))
        return landed

    def _folder(self, target: Target) -> Path:
        if (downloads := self._settings.noirlab.downloads) is not None:
            return Path(downloads).expanduser().resolve()
        return self._client.scratch / safe_name(target.name)


@dataclass(frozen=True)
class _Plane:
    """A file of an exposure: its chips that are stored, and the names of all it has, if known."""

    file: ArchiveFile
    have: dict[str, Known]
    chips: frozenset[str] | None
