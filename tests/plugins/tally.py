"""Counts the tables it gets: per source, or per a level of their units."""

from __future__ import annotations

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.config.settings import setting
from virtualobserver.data.result import Result
from virtualobserver.data.table import Table


class TallySettings(AnalysisSettings):
    """What it is done for."""

    level: str = setting("source", doc="Level of the units", step="analyse")


class Tally(Analysis[Table, TallySettings]):
    """Number of tables."""

    name = "tally"
    requires = (Requirement("table", "sources"),)

    @property
    def per(self):
        return self.settings.level

    def find(self, products, aux, settings):
        return Result(properties={"tables": len(products), "units": [one.info.unit for one in products]})

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
