"""A third camera, all that it takes: exposure times in milliseconds, words and folders of its own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from virtualobserver.ccd.instrument import Instrument, KeywordSettings, Layout, ReadAs
from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data.contract import SurveyContract
from virtualobserver.data.product import Target

SHAPE, BIAS, GAIN, NOISE = (60, 70), 300.0, 1.5, 4.0


class ToySettings(CCDSettings):
    """Settings of the toy camera."""

    instrument: ClassVar[Instrument] = Instrument(
        camera="Toy 60",
        layout="raw",
        layouts={"raw": Layout(folder=r"raw/\d{4}-\d{2}-\d{2}", example="raw/DATE/*.fits")},
        keywords=KeywordSettings(exptime=ReadAs(keyword="ITIME", unit="ms"), type="WHAT"),
        saturation=16383.0,
    )


class VirtualToycam(CCDObservatory[ToySettings]):
    """A small camera with stars in it."""

    name = "toycam"
    contract = SurveyContract(targets=(Target("field", ra=10.0, dec=20.0, kind="field"),))

    def simulate_raw(self, targets, rng):
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        response = 1 - 0.2 * np.hypot(y / 60 - 0.5, x / 70 - 0.5)
        response /= np.median(response)
        stars = sum(3e3 * np.exp(-((y - b) ** 2 + (x - a) ** 2) / 4) for a, b in rng.uniform(5, 55, (12, 2)))
        kinds = {
            "zero": (0.0, 0.0),
            "dark": (0.0, 60e3),
            "skyflat": (1.2e4, 5e3),
            "light": (stars + 300, 60e3),
        }
        for target in targets:
            for kind, (light, milliseconds) in kinds.items():
                for n in range(5 if kind != "light" else 2):
                    electrons = rng.poisson(light * response) + rng.normal(0, NOISE, SHAPE)
                    counts = np.clip(np.rint(electrons / GAIN + BIAS), 0, 16383).astype(np.uint16)
                    when = f"2024-05-01T22:{10 * list(kinds).index(kind) + n:02d}:00"
                    header = {"WHAT": kind, "ITIME": milliseconds, "GAIN": GAIN, "RDNOISE": NOISE,
                              "DATE-OBS": when, "OBJECT": target.name, "FILTER": "V"}  # fmt: skip
                    yield target, self.framed(f"raw/2024-05-01/{kind}{n}.fits", header, counts)
