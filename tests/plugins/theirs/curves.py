"""Somebody's survey: a few JSON files for each star, each with the light curves of a season in two filters."""

from __future__ import annotations

import json

import numpy as np

from virtualobserver.config.settings import setting
from virtualobserver.data.product import Missing, Product, Raw, Target
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.io.listing import stamps
from virtualobserver.observatory import ObservatorySettings, SurveyContract, VirtualObservatory


class SeasonsSettings(ObservatorySettings):
    """Settings of the survey."""

    zero: float = setting(0.0, doc="Added to each flux", unit="uJy", step="reduce")


class VirtualSeasons(VirtualObservatory[TimeSeries, SeasonsSettings]):
    """Light curves of seasons."""

    name = "seasons"
    bands = ("g", "r")
    contract = SurveyContract(
        targets=(Target("a", ra=1.0, dec=2.0), Target("b", ra=3.0, dec=4.0)), own_columns=("humidity",)
    )

    def fetch(self, targets, client):
        for target in targets:
            paths = files_of(target, client)
            if not paths:
                yield target, Missing("no season")
            for path in paths:
                yield target, Raw(path.name, "json", path=path, in_place=True)

    def listing(self, targets, client):
        for target in targets:
            yield target, stamps(files_of(target, client))

    def reduce(self, raws, aux, settings):
        products = []
        for raw in raws:
            season = json.loads(raw.read())
            for band in self.bands:
                flux = np.array(season[band]) + settings.zero
                columns = {
                    "mjd": np.array(season["mjd"]),
                    "flux": flux,
                    "flux_error": np.full(flux.size, 3.0),
                }
                columns |= {"flags": np.zeros(flux.size, np.int64), "humidity": np.full(flux.size, 0.5)}
                made = TimeSeries(columns, band=band, meta={"season": raw.archive_id})
                statistics = {"n_seen": int(flux.size)}
                products.append(
                    Product(made, series=f"{raw.archive_id} {band}", band=band, statistics=statistics)
                )
        return products

    def simulate_raw(self, targets, rng):
        for target in targets:
            for year in range(3):
                mjd = np.sort(rng.uniform(58000.0, 58200.0, 30)) + 365.0 * year
                season = {"mjd": mjd.tolist()} | {
                    band: rng.normal(200.0, 3.0, 30).tolist() for band in self.bands
                }
                content = json.dumps(season).encode()
                yield (
                    target,
                    Raw(f"{target.name}_{year}.json", "json", content=content, header={"year": year}),
                )


def files_of(target, client):
    """Return the files of a star."""
    return [path for folder in client.folders for path in sorted(folder.glob(f"{target.name}_*.json"))]
