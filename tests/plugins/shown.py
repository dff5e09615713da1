"""An analysis that finds the last epoch of each light curve, and shows a panel of every kind."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis
from virtualobserver.data import Event, Result
from virtualobserver.data.panels import Axis, Curve, Facts, Heatmap, ImageStack, Mark, Series

FRAMES = 5


class Shown(Analysis):
    """Finds one event in each source."""

    name = "shown"

    def find(self, products, aux, settings):
        times = products[0].load().mjd
        event = Event(
            kind="last", start_mjd=times[-2], peak_mjd=times[-1], end_mjd=times[-1], snr=4.5, product=0,
            parameters={"text": "<img src=x onerror=alert(2)>"},
        )  # fmt: skip
        return Result(detections=(event,) if aux.target.name == "star_00" else ())

    def draw(self, rng, products, settings):
        return {"t_peak": 0.0, "start_mjd": 0.0, "end_mjd": 0.0}

    def inject(self, products, params, rng):
        return products

    def panels(self, products, aux, settings, event):
        x = np.arange(20.0)
        evil = "<img src=x onerror=alert(3)>"
        images = np.random.default_rng(1).normal(size=(FRAMES, 24, 24))
        for n in range(FRAMES):
            images[n, 5 + 3 * n, 5 + 3 * n] += 30.0
        rings = [
            [Mark("point", x=5.0 + 3 * n, y=5.0 + 3 * n), Mark("line", x=3.0 * n, label=evil)]
            for n in range(FRAMES)
        ]
        curve = Curve(evil, x, 10 + np.sin(x), np.full(20, 0.2), flags=x > 17, text=[evil] * 20)
        model = Curve("model", x, 10 + np.sin(x), style="line", colour="model", hidden=True)
        return [
            Series("curve", Axis("time", "d", "time"), Axis("flux", "uJy"), [curve, model],
                   [Mark("span", x=3, x_end=5), Mark("line", x=4, label=evil)], fold=6.28, note=evil),
            Heatmap("map", Axis("velocity", "km/s"), Axis("night"), np.outer(x, x), stretch="symmetric",
                    x_edges=np.concatenate([np.arange(20), [40]])),
            ImageStack("film", images, [f"image {n}" for n in range(FRAMES)], marks=rings, start=2,
                       masks={"hot": images > 25, "edge": np.eye(24) > 0}),
            Facts("facts", [("name", evil, ""), ("number", 1.5, "K"), ("truth", True, "")]),
        ]  # fmt: skip
