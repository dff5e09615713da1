"""ASTEP 400 at Dome C, and cameras like it: nights of raw CCD frames, calibrated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.handles import Handle
from virtualobserver.data.product import Aux, Missing, Product, Raw, RawRef, Target
from virtualobserver.observatories.astep.folder import belongs, folder_raws
from virtualobserver.observatories.astep.header import unit_of
from virtualobserver.observatories.astep.loaded import LoadedMasters
from virtualobserver.observatories.astep.making import make_masters
from virtualobserver.observatories.astep.masters import choose_masters
from virtualobserver.observatories.astep.photometry import measure
from virtualobserver.observatories.astep.recipe import reduce_frame
from virtualobserver.observatories.astep.settings import ASTEPSettings
from virtualobserver.observatories.astep.simulate import simulate
from virtualobserver.observatories.astep.solve import solve
from virtualobserver.observatory import (
    Client,
    Landed,
    ObservatorySettings,
    Site,
    VirtualObservatory,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["ASTEPSettings", "VirtualASTEP"]


class VirtualASTEP(VirtualObservatory):
    """ASTEP 400, the 40 cm telescope at Concordia, Dome C; with `layout: folder` any camera's FITS files.

    Science frames are units ``night/frame``. Biases, darks and flats belong to the camera and make masters by
    shape, binning, exposure time, temperature, filter and night, wherever in the night's folders they lie.
    """

    name: ClassVar[str] = "astep"
    version: ClassVar[str] = "1"
    facility: ClassVar[str] = "ASTEP 400, Concordia, Dome C"
    instrument: ClassVar[str] = "FLI Proline KAF-16801E"
    site: ClassVar[Site | None] = Site(123.35, -75.1, 3233.0)
    bands: ClassVar[tuple[str, ...]] = ("R",)
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
    contract: ClassVar[SurveyContract] = SurveyContract(
        targets=(Target("field", ra=150.0, dec=-65.0, kind="field"),),
        options={
            "simulation": {
                "frames": 2, "size": (96, 104), "stars": 25, "movers": 1, "biases": 3, "darks": 3, "flats": 3,
                "drift": 0.0,
            }
        },
    )  # fmt: skip

    Settings: ClassVar[type[ObservatorySettings]] = ASTEPSettings

    def __init__(self, settings: ObservatorySettings | None = None, **options: Any) -> None:
        super().__init__(settings, **options)
        self._masters = LoadedMasters()

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        """Find the frames of a folder; nothing is ever written there.

        Yields
        ------
        (target, Raw)
            A science frame of the target, or a calibration frame, which belongs to its camera. Files that cannot
            be read come too: their unit fails and says why.
        """
        raws = folder_raws(client.folders, self.settings) if client.folders else []
        for target in targets:
            mine = [raw for raw in raws if belongs(raw, target, self.settings)]
            yield from ((target, raw) for raw in mine)
            if not mine:
                how = f"fields: {self.settings.fields}"
                yield (
                    target,
                    Missing(f"none of the {len(raws)} frames of the archive folder is of it ({how})"),
                )

    def unit(self, raw: RawRef) -> str:
        """Return ``night/frame``, or the key of a master such as ``dark/4096x4096/1x1/90s/-40C/2012-06-04``."""
        return unit_of(raw.header, self.settings)

    def calibrate(self, raws: Sequence[RawRef], aux: Aux, settings: Any) -> Sequence[Product]:
        """Combine the frames of one key into its master, with variance and mask.

        Raises
        ------
        DataError
            If none of the frames can be used.
        """
        return make_masters(raws, aux, settings)

    def choose(self, masters: Sequence[Handle], raw: RawRef) -> Mapping[str, Handle]:
        """Return the masters that suit a frame: ``bias``, ``dark``, ``flat``."""
        return choose_masters(masters, raw.header, self.settings)

    def reduce(self, raws: Sequence[RawRef], aux: Aux, settings: Any) -> Sequence[Product]:
        """Calibrate a science frame; see `recipe`.

        Raises
        ------
        DataError
            If the frame cannot be calibrated; the message says why.
        """
        return [reduce_frame(raw, aux, settings, self._masters) for raw in raws[:1]]

    def refine(self, part: str, products: Sequence[Handle], aux: Aux, settings: Any) -> Sequence[Product]:
        """Solve the world coordinates (with a reference catalogue), or measure the light, of one frame."""
        return (solve if part == "solve" else measure)(products, aux, settings)

    def figures(
        self, raws: Sequence[RawRef], products: Sequence[Handle], settings: Any
    ) -> Mapping[str, Figure]:
        """Draw the masters with their masks, a frame before and after, and the noise against the variance."""
        from virtualobserver.observatories.astep.figures import calibration_figures

        return calibration_figures(raws, products, settings)

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make nights of frames in the archive's layout; the header of each raw frame says what was put in."""
        for target in targets:
            for raw in simulate(target, rng, self.settings):
                yield target, raw
