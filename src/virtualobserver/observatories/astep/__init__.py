"""ASTEP 400 at Dome C, and cameras like it: nights of raw CCD frames, calibrated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Raw, Target
from virtualobserver.observatories.astep.settings import ASTEPSettings
from virtualobserver.observatories.astep.simulate import simulate
from virtualobserver.observatory import Site

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ASTEPSettings", "VirtualASTEP"]


class VirtualASTEP(CCDObservatory[ASTEPSettings]):
    """ASTEP 400, the 40 cm telescope at Concordia, Dome C; with `layout: folder` any camera's FITS files."""

    name: ClassVar[str] = "astep"
    title: ClassVar[str] = "ASTEP"
    version: ClassVar[str] = "10"
    facility: ClassVar[str] = "ASTEP 400, Concordia, Dome C"
    instrument: ClassVar[str] = "FLI Proline KAF-16801E"
    site: ClassVar[Site | None] = Site(123.35, -75.1, 3233.0)
    bands: ClassVar[tuple[str, ...]] = ("R",)
    contract: ClassVar[SurveyContract] = SurveyContract(
        targets=(Target("field", ra=150.0, dec=-65.0, kind="field"),),
        options={
            "simulation": {
                "frames": 2, "size": (96, 104), "stars": 25, "movers": 1, "biases": 3, "darks": 3, "flats": 3,
                "drift": 0.0,
            }
        },
    )  # fmt: skip

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make nights of frames in the archive's layout; the header of each raw frame says what was put in."""
        for target in targets:
            for raw in simulate(target, rng, self.settings):
                yield target, raw
