"""The live archive: objects table by TAP, then light curves by object id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import ArchiveError, ArchiveUnavailable, DataError, IncompleteDownload
from virtualobserver.io.http.answers import Answer, Check
from virtualobserver.observatories.ztf import query
from virtualobserver.observatories.ztf.raw import lightcurve_raw
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatory import Client, Landed
from virtualobserver.typing import RecordDict

__all__ = ["LiveArchive", "out_of_reach", "why_out_of_reach"]

_KEPT_SECONDS = 86400.0
"""A day: releases are months apart, and a new one is seen the next day."""


def out_of_reach(target: Target, settings: ZTFSettings) -> bool:
    """Say whether ZTF cannot have seen `target`, so that no request is needed."""
    return bool(why_out_of_reach(target, settings))


def why_out_of_reach(target: Target, settings: ZTFSettings) -> str:
    """Say why ZTF cannot have seen `target`; empty if it can."""
    if target.dec is not None and target.dec < settings.minimal_declination:
        return f"south of minimal_declination = {settings.minimal_declination:g}, not asked for"
    limit = settings.limiting_magnitude
    if limit is not None and target.mag is not None and target.mag > limit:
        return f"fainter than limiting_magnitude = {limit:g}, not asked for"
    return ""


class LiveArchive:
    """Light curves of the public releases."""

    def __init__(self, client: Client, settings: ZTFSettings) -> None:
        self._http = client.http
        self._cache = client.cache
        self._settings = settings
        self._release = settings.release

    @property
    def release(self) -> str:
        """The release in use; the newest is asked for once."""
        if self._release == "newest":
            answer = self._tap(query.build_release_query(), query.check_releases)
            self._release = query.newest_release(answer.content)
        return self._release

    def _tap(self, adql: str, check: Check) -> Answer:
        """Ask the table service; the same question is asked once a day at most."""
        form = query.build_tap_params(adql)
        return self._http.cached_post(
            self._settings.tap_url, folder=self._cache, data=form, check=check, max_age=_KEPT_SECONDS
        )

    def fetch(self, target: Target) -> Iterator[Landed]:
        """Yield the light curves of one target, its error, or why there are none."""
        if why := why_out_of_reach(target, self._settings):
            yield target, Missing(why)
            return
        try:
            cone = query.cone_of(target, self._settings.cone_radius)
            for found in self._raws(cone):
                yield target, found
        except (ArchiveError, DataError) as error:
            yield target, error

    def _raws(self, cone: query.Cone) -> Iterator[Raw | Missing]:
        place = f"{cone.ra:.7f} {cone.dec:.7f} {cone.radius:.7f} {','.join(sorted(self._settings.filters))}"
        try:
            oids = self._objects(cone, place)
        except (ArchiveUnavailable, IncompleteDownload):
            if not self._settings.cone_fallback or self._release == "newest":
                raise
            params = query.build_cone_params(cone, self._release, self._settings.filters)
            yield from self._lightcurves(params, f"ztf_{self._release} CIRCLE {place}", "cone")
            return
        if not oids:
            yield Missing("the objects table has no object with good observations within cone_radius")
        for number, part in enumerate(query.chunks(oids)):
            params = query.build_lightcurve_params(part, self.release)
            name = f"ztf_{self.release} ID {place} part {number}"
            yield from self._lightcurves(params, name, "id")

    def _objects(self, cone: query.Cone, place: str) -> list[int]:
        adql = query.build_objects_query(cone, self.release, self._settings.filters)
        answer = self._tap(adql, query.check_objects)
        return query.parse_objects(answer.content, f"objects of ztf_{self.release} at {place}")

    def _lightcurves(
        self, params: Sequence[tuple[str, str]], name: str, route: str
    ) -> Iterator[Raw | Missing]:
        answer = self._http.get(
            self._settings.lightcurve_url, params=_grouped(params), check=query.check_lightcurve
        )
        if answer.empty:
            yield Missing("the light-curve service has no epochs of its objects")
            return
        content = answer.content
        kind = "votable" if b"<votable" in content[:1024].lower() else "csv"
        header = {"release": self.release, "route": route, "request": [list(pair) for pair in params]}
        raw = lightcurve_raw(content, name, kind=kind, header=header)
        if raw is not None:
            yield raw


def _grouped(params: Sequence[tuple[str, str]]) -> RecordDict:
    """Return the parameters as a mapping; a repeated name gets a list."""
    grouped: RecordDict = {}
    for name, value in params:
        grouped.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in grouped.items()}
