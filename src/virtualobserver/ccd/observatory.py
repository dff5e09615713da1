"""Base class of surveys with a camera: nights of raw frames, calibrated, solved and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import TypeVar

from virtualobserver.ccd.calibration import calibration_panels
from virtualobserver.ccd.folder import belongs, folder_raws, level_of, raw_of
from virtualobserver.ccd.header import facts_of, place_of, unit_of
from virtualobserver.ccd.loaded import LoadedMasters
from virtualobserver.ccd.making import make_masters
from virtualobserver.ccd.masters import choose_masters
from virtualobserver.ccd.photometry import measure
from virtualobserver.ccd.recipe import reduce_frame
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.ccd.solve import solve
from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Panel
from virtualobserver.data.product import Aux, Missing, Product, Raw, RawRef, Target
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.io.fits.files import image_bytes
from virtualobserver.maths.arrays import Array
from virtualobserver.observatory import Client, Landed, ObservatorySettings, Site, VirtualObservatory
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.data.panels import Panel

__all__ = ["CCDObservatory"]

S = TypeVar("S", bound=CCDSettings, default=CCDSettings)


class CCDObservatory(VirtualObservatory[Image | Table, S]):
    """A survey with a camera: its frames lie in folders of FITS files.

    Science frames are units ``night/frame``. Biases, darks and flats belong to the camera and make masters by
    shape, binning, exposure time, temperature, filter and night, wherever in the night's folders they lie.
    A survey gives its `Instrument` to its settings, and writes `simulate_raw`, see `framed`::

        class MySettings(CCDSettings):
            instrument: ClassVar[Instrument] = Instrument(camera="...", keywords=...)

        class VirtualMine(CCDObservatory[MySettings]):
            name = "mine"
    """

    version: ClassVar[str] = "4"
    levels: ClassVar[tuple[str, ...]] = ("night", "frame")
    master_kinds: ClassVar[tuple[str, ...]] = ("bias", "dark", "flat")
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("image", "calibrated"),)
    parts: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = {
        "solve": (("table", "wcs"),),
        "photometry": (("table", "sources"), ("table", "forced"), ("table", "zeropoint")),
    }
    services: ClassVar[tuple[str, ...]] = ("refcat", "solver")
    batch: ClassVar[int] = 2
    fetch_batch: ClassVar[int] = 1

    Settings: ClassVar[type[ObservatorySettings]] = CCDSettings

    def __init__(self, settings: S | None = None, **options: object) -> None:
        super().__init__(settings, **options)
        self._masters = LoadedMasters()

    @property
    def place(self) -> Site | None:
        """Where the telescope stands, if headers do not say: files of any camera have no site of the class."""
        return place_of({}, self.settings)[0]

    @property
    def mpc_code(self) -> str:
        """Code of the observatory at the Minor Planet Center, if headers do not say."""
        return place_of({}, self.settings)[1]

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Find the frames of a folder; nothing is ever written there.

        Yields
        ------
        (target, Raw or Missing)
            A science frame of the target, or a calibration frame, which belongs to its camera. Files that cannot
            be read come too: their unit fails and says why.
        """
        raws = folder_raws(client.folders, self.settings) if client.folders else []
        for target in targets:
            mine = [raw for raw in raws if belongs(raw, target, self.settings)]
            yield from ((target, raw) for raw in mine)
            if not mine:
                fields = f"fields: {self.settings.fields}"
                reason = f"none of the {len(raws)} frames of the archive folder is of it ({fields})"
                yield target, Missing(reason)

    def unit(self, raw: RawRef) -> str:
        """Return ``night/frame``, or the key of a master such as ``dark/4096x4096/1x1/90s/-40C/2012-06-04``."""
        return unit_of(raw.header, self.settings)

    def calibrate(self, raws: Sequence[RawRef], aux: Aux, settings: S) -> Sequence[Product[Image | Table]]:
        """Combine the frames of one key into its master, with variance and mask.

        Raises
        ------
        DataError
            If none of the frames can be used.
        """
        return make_masters(raws, aux, settings)

    def choose(
        self, masters: Sequence[Handle[Image | Table]], raw: RawRef
    ) -> Mapping[str, Handle[Image | Table]]:
        """Return the masters that suit a frame: ``bias``, ``dark``, ``flat``."""
        return choose_masters(of_kind(masters, Image), raw.header, self.settings)

    def reduce(self, raws: Sequence[RawRef], aux: Aux, settings: S) -> Sequence[Product[Image | Table]]:
        """Calibrate a science frame; see `recipe`.

        Raises
        ------
        DataError
            If the frame cannot be calibrated; the message says why.
        """
        names = sorted({raw.archive_id for raw in raws})
        if len(names) > 1:
            msg = f"{' and '.join(names)} are frames of one name; rename one of them"
            raise DataError(msg)
        return [reduce_frame(raw, aux, settings, self._masters) for raw in raws[:1]]

    def refine(
        self, part: str, products: Sequence[Handle[Image | Table]], aux: Aux, settings: S
    ) -> Sequence[Product[Image | Table]]:
        """Solve the world coordinates (with a reference catalogue), or measure the light, of one frame."""
        return (solve if part == "solve" else measure)(products, aux, settings)

    def figures(
        self, raws: Sequence[RawRef], products: Sequence[Handle[Image | Table]], settings: S
    ) -> Mapping[str, Figure]:
        """Draw the masters with their masks, a frame before and after, and the noise against the variance."""
        from virtualobserver.ccd.figures import calibration_figures

        return calibration_figures(raws, of_kind(products, Image), settings)

    def calibration_panels(
        self, products: Sequence[Handle[Image | Table]], settings: S, choice: Mapping[str, float]
    ) -> Sequence[Panel]:
        """Return the regression of a frame's zero point: magnitudes, residuals over magnitude and colour, numbers."""
        return calibration_panels(products, settings.photometry, choice)

    def frame_panels(
        self, raws: Sequence[RawRef], frames: Sequence[Handle[Image | Table]], settings: S
    ) -> Sequence[Panel]:
        """Show the frame before and after with its masks, and its noise against its variance."""
        from virtualobserver.ccd.panels import frame_panels

        return frame_panels(raws, of_kind(frames, Image), settings)

    def framed(self, name: str, header: Record, counts: Array) -> Raw:
        """Return a frame as if it were a file of the archive: what a simulation yields.

        Parameters
        ----------
        name
            Path below the archive's folder.
        counts
            Shape (rows, columns), ADU.
        """
        shape = (counts.shape[0], counts.shape[1])
        facts = facts_of(name, header, shape, self.settings, level=lambda: level_of(counts))
        return raw_of(name, facts, content=image_bytes(Image(counts, header=header)))
