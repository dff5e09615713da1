"""LSSS, the asteroid survey at La Sagra, and nights of cameras like it: from raw frames to measured sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.conventions import NO_FILTER
from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Raw, Target
from virtualobserver.observatories.lsss.settings import LSSSSettings
from virtualobserver.observatories.lsss.simulate import simulate
from virtualobserver.observatory import Site

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LSSSSettings", "VirtualLSSS"]


class VirtualLSSS(CCDObservatory[LSSSSettings]):
    """La Sagra Sky Survey: one folder a night, with a bias, a flat and some hundred frames in it.

    The archive is never written to. Files whose names hold ``bias`` or ``flat`` are calibration frames; a dark of low
    level is a bias, a flat near 1 is used as delivered. With ``preset`` it reads frames of CAFOS and of any camera.
    """

    name: ClassVar[str] = "lsss"
    title: ClassVar[str] = "LSSS"
    version: ClassVar[str] = "8"
    facility: ClassVar[str] = "La Sagra Sky Survey"
    instrument: ClassVar[str] = "SBIG ST-10 3 CCD Camera"
    site: ClassVar[Site | None] = Site(-2.566, 37.983, 1530.0)
    bands: ClassVar[tuple[str, ...]] = (NO_FILTER,)
    contract: ClassVar[SurveyContract] = SurveyContract(
        targets=(Target("field", ra=150.0, dec=20.0, kind="field"),),
        options={"simulation": {"frames": 2, "size": (96, 128), "stars": 30, "movers": 1, "dither": 0.0}},
    )

    def simulate_raw(
        self, targets: Iterable[Target], rng: np.random.Generator
    ) -> Iterator[tuple[Target, Raw]]:
        """Make nights as the archive has them; the header of each raw science frame says what was put in."""
        for target in targets:
            for raw in simulate(target, rng, self):
                yield target, raw
