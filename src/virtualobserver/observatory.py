"""Base class of all surveys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, cast

import pydantic
from typing_extensions import TypeVar

from virtualobserver import plugins
from virtualobserver.config.settings import Configured, Settings, setting
from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.frame_panels import frame_stack
from virtualobserver.data.handles import Container, Handle
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Known, Missing, Product, Raw, RawRef, Target
from virtualobserver.data.result import Event
from virtualobserver.errors import ArchiveError, ConfigError, DataError, PluginError
from virtualobserver.io.listing import files_below, stamps
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from virtualobserver.data.panels import Panel
    from virtualobserver.io.http.client import HttpClient
    from virtualobserver.maths.astrometry.plate import PlateHint, PlateSolution

__all__ = [
    "UNPLACED",
    "Aux",
    "Client",
    "FiguresOnDemand",
    "Jobs",
    "Known",
    "Landed",
    "Missing",
    "ObservatorySettings",
    "Site",
    "Solved",
    "Solver",
    "SurveyContract",
    "VirtualObservatory",
]

UNPLACED: Final = "unplaced"
"""Key of a row of `VirtualObservatory.catalogue` that says why nothing tells where its target is."""
Landed = tuple[Target, Raw | Known | Missing | ArchiveError | DataError]


class FiguresOnDemand(Mapping[str, "Figure"]):
    """Figures by name, each drawn anew whenever it is asked for: names and their number cost nothing.

    Parameters
    ----------
    draw
        What draws each.
    """

    def __init__(self, draw: Mapping[str, Callable[[], Figure]]) -> None:
        self._draw = dict(draw)

    def __getitem__(self, name: str) -> Figure:
        return self._draw[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._draw

    def __iter__(self) -> Iterator[str]:
        return iter(self._draw)

    def __len__(self) -> int:
        return len(self._draw)


class Jobs(Protocol):
    """What is known of requests that an archive works on for hours: submitted, listed, collected."""

    def get(self, job: str) -> Record | None:
        """Return the facts of a request, with its ``age`` in seconds; None for an unknown one."""
        ...

    def put(self, job: str, facts: Record) -> None:
        """Write down the facts of a request, without secrets."""
        ...


class Client(Protocol):
    """The archive as `fetch` sees it: the live one, a folder, or the survey's own simulator."""

    @property
    def origin(self) -> str:
        """One of ``live``, ``folder`` or ``simulated``."""
        ...

    @property
    def folders(self) -> Sequence[Path]:
        """The folders of a folder archive, else empty."""
        ...

    @property
    def http(self) -> HttpClient:
        """The HTTP client of the live archive."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether the archive shall be asked anew; `http` then leaves kept answers aside by itself."""
        ...

    @property
    def cache(self) -> Path:
        """Folder for answers that need not be asked twice, see `HttpClient.cached_get`."""
        ...

    @property
    def scratch(self) -> Path:
        """Folder for downloads in progress, which a later run takes up."""
        ...

    def known(self, archive_ids: Sequence[str]) -> Mapping[str, Known]:
        """Return what is stored already of the raw data with these ids: yield it instead of fetching it again."""
        ...

    @property
    def jobs(self) -> Jobs:
        """Notes on requests that the archive keeps in a queue; they outlive the run."""
        ...

    def rng(self, *names: str) -> np.random.Generator:
        """Return a generator seeded by the project's seed and `names`."""
        ...


class Solver(Protocol):
    """What finds the world coordinates of frames, ``aux.services["solver"]``."""

    def solve(
        self,
        sources: tuple[ArrayLike, ArrayLike, ArrayLike],
        *,
        hint: PlateHint,
        shape: tuple[int, int],
        epoch: float,
        **options: object,
    ) -> Solved:
        """Return the solution of a frame from its sources (x, y from 0, flux).

        `epoch` is the Julian year of the frame; `options` are those of `solve_plate`.

        Raises
        ------
        NotEnoughData, NoMatch
            With the reason.
        """
        ...


class Solved(Protocol):
    """A plate solution with the stars it was found with, as they were at its epoch."""

    @property
    def solution(self) -> PlateSolution:
        """World coordinates, pairs and residuals."""
        ...

    @property
    def stars(self) -> Any:
        """Stars around the frame, with ``ra``, ``dec``, ``mag``, ``bp_rp`` and the others as arrays."""
        ...


class ObservatorySettings(Settings):
    """Settings every survey has."""

    archive: str | list[str] | None = setting(
        None,
        doc="Folder, or list of folders, with data in the archive's own format, a relative one from the folder "
        "of the configuration; `simulated` = the survey's simulator; unset = the live archive",
        run_only=True,
        path=True,
        words=("simulated",),
    )
    seed: int = setting(0, doc="Seed of data that are simulated", step="fetch", ge=0)
    band_names: str | dict[str, str] | None = setting(
        None,
        doc="Names that bands get in products: a mapping of old to new, or a template such as "
        "<observatory>-<filter>; unset = as the survey names them",
        step="reduce",
        aliases=("filtmap",),
    )
    rate: float = setting(2.0, doc="Requests per second to one archive host", unit="1/s", gt=0, run_only=True)

    @pydantic.field_validator("archive")
    @classmethod
    def _somewhere(cls, value: str | list[str] | None) -> str | list[str] | None:
        names = [value] if isinstance(value, str) else value
        if names is not None and not (names and all(name.strip() for name in names)):
            msg = "should name a folder, or several; leave it out for the live archive"
            raise ValueError(msg)
        return value

    timeout: float = setting(300.0, doc="Longest time one request may take", unit="s", gt=0, run_only=True)


@lru_cache(maxsize=100)
def title_of(name: str) -> str:
    """Return how people write the name of a survey; the name itself if no survey of that name is there any more."""
    if not name:
        return ""
    try:
        return plugins.load("observatories", name).title or name
    except PluginError:
        return name


# without them, a class or an argument takes any
C = TypeVar("C", bound=Container, default=Any)
S = TypeVar("S", bound=ObservatorySettings, default=Any)


class VirtualObservatory(Configured, ABC, Generic[C, S]):
    """A survey: how to get its raw data and what to make of them.

    A survey is one file in ``virtualobserver/observatories``. What it makes and its settings stand in brackets,
    ``class VirtualMine(VirtualObservatory[TimeSeries, MySettings])``. It sets the class attributes and writes
    `fetch`, `reduce` and `simulate_raw`; an image survey also `unit`, `calibrate` and `choose`, with `levels` naming
    the parts of its units (``("night", "frame")``) and `master_kinds` its masters in the order in which they are made
    (``("bias", "dark", "flat")``). `parts` names parts of the reduction that have
    digests of their own, with what each makes (``{"solve": (("table", "wcs"),)}``), done by `refine` in that
    order. `services` names what arrives in ``aux.services`` (``("refcat", "solver")``, each with a setting of its
    name, the solver's being that of ``refcat`` if it has none; where that is None, it does not arrive). Only
    `fetch` may read or write anything. `contract` gives the contract suite what it needs to try the survey.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """How people write the survey's name: ``ZTF``; its `name` if they write no other."""
    archive_title: ClassVar[str] = ""
    """How they write that of its archive, where `archive_page` leads."""
    version: ClassVar[str] = "1"
    facility: ClassVar[str] = ""
    instrument: ClassVar[str] = ""
    site: ClassVar[Site | None] = None
    bands: ClassVar[tuple[str, ...]] = ()
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "reduced"),)
    levels: ClassVar[tuple[str, ...]] = ()
    master_kinds: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = {}
    services: ClassVar[tuple[str, ...]] = ()
    simulated: ClassVar[bool] = False
    batch: ClassVar[int] = 200
    fetch_batch: ClassVar[int] = 200
    http_login: ClassVar[bool] = True
    """Whether every request carries the survey's credentials; if not, `fetch` gives them where they belong."""

    contract: ClassVar[SurveyContract] = SurveyContract()

    Settings: ClassVar[type[ObservatorySettings]] = ObservatorySettings
    """The class of its settings: what stands in the brackets, unless the class says otherwise."""

    def __init__(self, settings: S | None = None, **options: object) -> None:
        self.settings: S = settings if settings is not None else cast(S, self.Settings(**options))

    @property
    def place(self) -> Site | None:
        """Where the telescope stands, as far as class and settings know; raw data may know better."""
        return self.site

    @property
    def mpc_code(self) -> str:
        """Code of the observatory at the Minor Planet Center, as far as settings know; raw data may know better."""
        return ""

    @abstractmethod
    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Get the raw data of a batch of targets.

        Yields
        ------
        (target, Raw)
            One piece of raw data; it is stored as soon as it is yielded.
        (target, Known)
            Raw data that `client.known` has already and that are still what the archive has.
        (target, error)
            This target failed; the others go on.
        (target, Missing)
            The target was looked for and is not there, and why. One of which nothing is yielded is
            not there either, and its reason says only where it was looked for.
        """

    def listing(
        self, targets: Sequence[Target], client: Client
    ) -> Iterator[tuple[Target, Mapping[str, str]]]:
        """Say what the folders of the archive hold of each target now: path of a file to a stamp of its state.

        Asked before files are read and again at the beginning of every run: where the answer is another one,
        the target has new, changed or vanished files. So nothing is opened here that was not opened before,
        and `virtualobserver.io.listing` makes the stamps. By default every file of the folders counts for every
        target, which is safe and coarse; a survey that knows whose a file is says so.
        """
        everything = stamps(files_below(client.folders))
        for target in targets:
            yield target, everything

    def addresses(self) -> Sequence[str]:
        """Return the addresses of the live archive: raw data of another address are other raw data."""
        return ()

    def catalogue(self, client: Client) -> list[RecordDict]:  # noqa: ARG002
        """Return rows of a target list of everything the archive has, for ``catalog: {survey: NAME}``.

        A row that has `UNPLACED` in place of a position says why it has none; it is left out and people are told.

        Raises
        ------
        ConfigError
            If the survey cannot list its archive.
        """
        msg = f"catalog.survey: {self.name} cannot list its archive; name the targets in a file"
        raise ConfigError(msg)

    def unit(self, raw: RawRef) -> str:  # noqa: ARG002 - one unit is what surveys of single objects have
        """Return the path of the unit `raw` belongs to, e.g. ``2012-06-04/0229``; empty = one unit a source.

        Its parts are named by `levels`. For the raw data of a camera it is the key of the master they go into
        and begins with one of `master_kinds`, e.g. ``dark/2x2/60s/2012-06-04``. Pure; called once, when the
        raw data land.
        """
        return ""

    def calibrate(self, raws: Sequence[RawRef], aux: Aux, settings: S) -> Sequence[Product[C]]:  # noqa: ARG002
        """Return the master frames (role ``master``) of one key made from `raws`. Pure.

        Kinds are made in the order of `master_kinds`, so ``aux.masters`` holds what `choose` picked for the
        first of `raws` among the masters of the kinds before.
        """
        return ()

    def choose(self, masters: Sequence[Handle[C]], raw: RawRef) -> Mapping[str, Handle[C]]:  # noqa: ARG002
        """Return, by name, the masters that suit `raw`. Pure; looks at ``info`` only, never loads.

        ``info.unit`` is the key of a master, ``info.statistics`` what `calibrate` said of it.
        """
        return {}

    @abstractmethod
    def reduce(self, raws: Sequence[RawRef], aux: Aux, settings: S) -> Sequence[Product[C]]:
        """Turn the raw data of one unit into products. Pure: no files, no network, no randomness."""

    def refine(
        self,
        part: str,  # noqa: ARG002 - surveys without parts have nothing to refine
        products: Sequence[Handle[C]],  # noqa: ARG002
        aux: Aux,  # noqa: ARG002
        settings: S,  # noqa: ARG002
    ) -> Sequence[Product[C]]:
        """Do a named part of the reduction on what `reduce` and the parts before made of one unit. Pure.

        A setting that belongs to a part only is marked ``step="reduce.<part>"``: to change it does that part
        again, and what comes after, and nothing before.
        """
        return ()

    def archive_page(self, raw: RawRef) -> str | None:  # noqa: ARG002 - most surveys have no such pages
        """Return the address of the page on which the archive itself shows raw data; None if there is none. Pure.

        Pages link to it and nothing is asked of it; what does not begin with ``https://`` is left out. Of raw data of a
        folder or a simulation only what bears the archive's own number has a page.
        """
        return None

    def frame_panels(
        self,
        raws: Sequence[RawRef],  # noqa: ARG002 - few surveys read what an image was made from
        frames: Sequence[Handle[C]],
        settings: S,  # noqa: ARG002
    ) -> Sequence[Panel]:
        """Say what a person should see of an image that was made, the most telling panel first.

        Parameters
        ----------
        raws
            Raw data of its unit.
        frames
            The image, and further ones of the same kind beside it to compare its noise with, in order of time.
        """
        image = frames[0].load()
        return [frame_stack(image)] if isinstance(image, Image) else []

    def event_panels(
        self,
        raws: Sequence[RawRef],  # noqa: ARG002 - few surveys can show more than their products
        products: Sequence[Handle[C]],  # noqa: ARG002
        searched: Handle[C],  # noqa: ARG002
        event: Event,  # noqa: ARG002
        *,
        told: bool = True,  # noqa: ARG002
    ) -> Sequence[Panel]:
        """Show of raw data what a search found something in; nothing by default. Pure.

        What a search itself shows comes from products: this is for surveys whose reduction keeps no pixels.

        Parameters
        ----------
        raws
            Raw data of the unit in which it was found.
        products
            What was made of that unit, as it is stored.
        searched
            The product it was found in, with what was injected in it.
        event
            The detection.
        told
            Whether it may be seen that something was injected.
        """
        return ()

    def figures(
        self,
        raws: Sequence[RawRef],  # noqa: ARG002 - surveys without figures have nothing to look at
        products: Sequence[Handle[C]],  # noqa: ARG002
        settings: S,  # noqa: ARG002
    ) -> Mapping[str, Figure]:
        """Return Matplotlib figures of what was made by name, the most telling one first; none by default.

        One of them is looked at: where they take long, `FiguresOnDemand` draws that one only.

        Parameters
        ----------
        raws
            Raw data of the units asked for, in the order of the units.
        products
            What `reduce` made of them, and all masters; ``info.unit`` says of which unit.
        """
        return {}

    def calibration_panels(
        self,
        products: Sequence[Handle[C]],  # noqa: ARG002 - surveys that fit no zero points have nothing to show
        settings: S,  # noqa: ARG002
        choice: Mapping[str, float],  # noqa: ARG002
    ) -> Sequence[Panel]:
        """Return what to see of the photometric calibration of one image; none by default.

        Parameters
        ----------
        products
            What `reduce` and its parts made of the image.
        choice
            Another choice of stars, to be looked at and not stored: ``clip`` (robust deviations), ``brightest``,
            ``faintest``, ``max_mag_error`` (mag). Empty shows the fit as it is stored.

        Raises
        ------
        ConfigError
            If the choice is not possible.
        """
        return ()

    def with_band_names(self, products: Iterable[Product[C]]) -> tuple[Product[C], ...]:
        """Return what `reduce` made with the names of bands that the setting ``band_names`` asks for."""
        names = self.settings.band_names
        if names is None:
            return tuple(products)
        return tuple(_renamed(product, self._band_name(product.band, names)) for product in products)

    def _band_name(self, band: str, names: str | Mapping[str, str]) -> str:
        if not isinstance(names, str):
            return names.get(band, band)
        return names.replace("<observatory>", self.name).replace("<filter>", band) if band else band

    @abstractmethod
    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make raw data in the archive's own format, for demonstrations and tests."""


def _renamed(product: Product[C], band: str) -> Product[C]:
    data: Any = product.data
    if getattr(data, "band", None) == product.band:
        data = replace(data, band=band)
    return replace(product, data=data, band=band)
