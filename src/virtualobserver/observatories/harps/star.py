"""What catalogues know of the star: the answers of Gaia and SIMBAD land beside its spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from virtualobserver.catalog.reference import GaiaArchive, LocalReference, ReferenceCatalogue
from virtualobserver.data.product import Known, Raw, RawRef, Target
from virtualobserver.errors import ArchiveError, ArchiveUnavailable, CatalogError, DataError
from virtualobserver.observatories.harps import gaia, simbad
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.observatory import Client, Landed
from virtualobserver.typing import RecordDict

__all__ = ["Patience", "StarServices", "identify_star", "with_star"]

Answer = TypeVar("Answer")

_GIVE_UP: Final = 3  # targets in a row for which a service does not answer


class Patience:
    """Counts how often in a row a service did not answer: thousands of targets shall not each wait for it."""

    def __init__(self) -> None:
        self._misses: dict[str, int] = {}

    def ask(self, service: str, question: Callable[[], Answer]) -> Answer:
        """Return the answer.

        Raises
        ------
        ArchiveError, CatalogError
            As `question` does; at once, where the service did not answer several times in a row.
        """
        if self._misses.get(service, 0) >= _GIVE_UP:
            msg = (
                f"{service} did not answer for {_GIVE_UP} targets in a row and is left alone; run again later"
            )
            raise ArchiveUnavailable(msg)
        try:
            answer = question()
        except ArchiveUnavailable:
            self._misses[service] = self._misses.get(service, 0) + 1
            raise
        self._misses[service] = 0
        return answer


@dataclass(frozen=True)
class StarServices:
    """Where the catalogues are."""

    gaia: str = gaia.TAP_URL
    simbad: str = simbad.TAP_URL


def with_star(
    target: Target,
    fetch: Callable[[Target], Iterator[Landed]],
    client: Client,
    settings: HARPSSettings,
    *,
    services: StarServices | None = None,
    patience: Patience | None = None,
) -> Iterator[Landed]:
    """Yield what `fetch` gets of a target, and after at least one spectrum what Gaia and SIMBAD know of the star.

    A target without a position is looked up in SIMBAD by its names first.
    """
    where, patience = services or StarServices(settings.gaia_url, settings.simbad_url), patience or Patience()
    answer: Raw | None = None
    place = target
    asks = settings.simbad == "always" or (settings.simbad == "auto" and client.origin == "live")
    if asks and (target.ra is None or target.dec is None):
        try:
            answer = patience.ask("SIMBAD", lambda: _simbad(target, client, where))
            place = simbad.located(target, simbad.identify([RawRef.of(answer)], target, ()))
        except (ArchiveError, DataError) as error:
            yield target, error
            return
    any_spectrum = False
    for _, thing in fetch(place):
        any_spectrum |= isinstance(thing, Raw | Known)
        yield target, thing
    if not any_spectrum:
        return
    try:
        if asks:
            answer = answer or patience.ask("SIMBAD", lambda: _simbad(target, client, where))
            yield target, _kept_or(answer, client)
            place = simbad.located(target, simbad.identify([RawRef.of(answer)], target, ()))
        catalogue = _reference(client, settings, where)
        stars = None if catalogue is None else patience.ask("Gaia", partial(gaia.ask, catalogue, place))
    except (ArchiveError, CatalogError, DataError) as error:
        yield target, DataError(str(error)) if isinstance(error, CatalogError) else error
        return
    if stars is not None:
        yield target, _kept_or(stars, client)


def _kept_or(raw: Raw, client: Client) -> Raw | Known:
    """Return what is stored of an answer already, else the answer: unless asked anew, both are the same."""
    if client.fresh:
        return raw
    return client.known([raw.archive_id]).get(raw.archive_id, raw)


def _simbad(target: Target, client: Client, where: StarServices) -> Raw:
    http = client.http.with_credentials(None)
    return simbad.ask(http, client.cache / "simbad", target, url=where.simbad)


def _reference(client: Client, settings: HARPSSettings, where: StarServices) -> ReferenceCatalogue | None:
    """Return the reference catalogue that the settings ask for, None for none."""
    given = getattr(client, "reference", None)
    if settings.reference == "never":
        return None
    if given is not None:
        found: ReferenceCatalogue = given
        return found
    if settings.reference not in {"auto", "always"}:
        return LocalReference(settings.reference)
    if settings.reference == "auto" and client.origin != "live":
        return None
    query = gaia.query_over(client.http.with_credentials(None), where.gaia)
    return GaiaArchive(settings.gaia_release, cache=client.cache / "gaia", query=query)


def identify_star(
    raws: Sequence[RawRef], target: Target, years: Sequence[float]
) -> tuple[RecordDict, RecordDict]:
    """Return what SIMBAD and what Gaia know of the target; empty where one was not asked or has no such star.

    A position and a motion that the target list lacks are those of SIMBAD. ``agrees_with_simbad`` says whether
    the star matched in Gaia is the one that SIMBAD names.
    """
    star = simbad.identify(raws, target, years)
    if star is None:
        return {}, gaia.identify(raws, target, years)
    found = gaia.identify(raws, simbad.located(target, star), years)
    if found and star.gaia_dr3 and str(found["catalogue"]).endswith("@dr3"):
        found["agrees_with_simbad"] = found["source_id"] == star.gaia_dr3
    return simbad.describe(star), found
