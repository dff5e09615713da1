"""An analysis that discovers something beside each star and says what it is."""

from __future__ import annotations

from typing import Literal

from virtualobserver.analysis import Analysis, AnalysisSettings
from virtualobserver.config.settings import setting
from virtualobserver.data import Event, Found, Result, Target, TimeSeries


class FinderSettings(AnalysisSettings):
    """What the things are called."""

    known: Literal["star", "alias", "asteroid", "none"] = setting("star", doc="What is recognised")


class Finder(Analysis[TimeSeries, FinderSettings]):
    """One discovery beside each star."""

    name = "finder"

    def find(self, products, aux, settings):
        name = {"star": "beta", "alias": "also beta", "asteroid": "(1) Ceres", "none": None}[settings.known]
        thing = Target(f"beside {aux.target.name}", ra=1.0, dec=2.0, kind="moving")
        event = Event("seen", 58300.0, 58300.0, 58301.0, 7.0, source=thing.name)
        return Result([event], sources=[Found(thing, same_as=name)])

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
