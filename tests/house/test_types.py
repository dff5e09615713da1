"""What a type checker sees of a plug-in: the settings and the containers that its class names in brackets."""

from __future__ import annotations

import re

import pytest
from support.paths import ROOT

from virtualobserver.analysis import Analysis, AnalysisSettings
from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.cli.scaffold import new_analysis, new_survey
from virtualobserver.data import Image, MemoryHandle, Table, TimeSeries, of_kind
from virtualobserver.data.handles import ProductInfo

api = pytest.importorskip("mypy.api")

WRONG = """
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisSettings
from virtualobserver.config.settings import setting
from virtualobserver.data import Handle, Image, Product, Raw, RawRef, Result, Target, TimeSeries
from virtualobserver.data.handles import of_kind
from virtualobserver.data.product import Aux
from virtualobserver.observatory import Client, Landed, ObservatorySettings, VirtualObservatory


class DipSettings(AnalysisSettings):
    snr_threshold: float = setting(5.0, doc="Least signal-to-noise ratio")


class Dips(Analysis[TimeSeries, DipSettings]):
    name = "dips"

    def find(self, products: Sequence[Handle[TimeSeries]], aux: Aux, settings: DipSettings) -> Result:
        low = settings.snr_threshold + self.settings.snr_threshold
        low += settings.snr_treshold  # wrong
        low += self.settings.snr_treshold  # wrong
        low += settings.snr_threshold.upper()  # wrong
        for handle in products:
            curve = handle.load()
            low += float(curve.mjd[0] + curve.mjdd[0])  # wrong
            low += handle.section(slice(3)).header["EXPTIME"]  # wrong
        for image in of_kind(products, Image):
            low += float(image.load().data.min())
        return Result(properties={"low": low})

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[Image]], settings: DipSettings  # wrong
    ) -> dict[str, float]:
        return {}

    def inject(
        self, products: Sequence[Handle[TimeSeries]], params: Sequence[Mapping[str, Any]], rng: np.random.Generator
    ) -> Sequence[Handle[TimeSeries]]:
        return products

    def together(self, products: Sequence[Handle[TimeSeries]], settings: ObservatorySettings) -> int:  # wrong
        return 1


class Strange(Analysis[TimeSeries, ObservatorySettings]):  # wrong
    name = "strange"


class VirtualDips(VirtualObservatory[TimeSeries, ObservatorySettings]):
    name = "dips"

    def fetch(self, targets: Sequence[Target], client: Client) -> Iterator[Landed]:
        yield from ()

    def reduce(self, raws: Sequence[RawRef], aux: Aux, settings: ObservatorySettings) -> list[Product[TimeSeries]]:
        first = Product(TimeSeries({"mjd": np.zeros(0)}))
        return [first, Product(Image(np.zeros((2, 2))))]  # wrong

    def simulate_raw(self, targets: Iterable[Target], rng: np.random.Generator) -> Iterator[tuple[Target, Raw]]:
        yield from ()


Dips().find([], Aux(Target("a")), DipSettings())
Dips(ObservatorySettings())  # wrong
"""


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Return what mypy says of files, with the project's own strict settings and what it kept of the package."""

    def check(*paths):
        monkeypatch.chdir(ROOT)
        said, trouble, _ = api.run(
            ["--config-file", "pyproject.toml", "--no-error-summary", *map(str, paths)]
        )
        assert not trouble
        return [line for line in said.splitlines() if ": error: " in line]

    return check


def test_a_wrong_setting_column_or_container_is_seen_and_a_new_plugin_is_clean(tmp_path, checked):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    new = [new_analysis("mine", tmp_path)[0]]
    new += [new_survey(f"my_{what}", tmp_path, data=what)[0] for what in ("curves", "spectra", "frames")]
    marked = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    said = checked(wrong, *new)
    assert {int(re.search(r":(\d+): error", line)[1]) for line in said if "wrong.py" in line} == marked
    assert not [line for line in said if "wrong.py" not in line]
    assert any(
        '"DipSettings" has no attribute "snr_treshold"; maybe "snr_threshold"?' in line for line in said
    )


class Shallow(AnalysisSettings):
    pass


class Deep(Shallow):
    pass


def test_the_settings_in_brackets_are_those_of_the_run():
    class Named(Analysis[TimeSeries, Shallow]):
        pass

    class Below(Named):
        pass

    class Other(Named):
        Settings = Deep

    class Bare(Analysis):
        pass

    class Camera(CCDObservatory):
        pass

    assert [each.Settings for each in (Named, Below, Other, Bare)] == [
        Shallow,
        Shallow,
        Deep,
        AnalysisSettings,
    ]
    assert Camera.Settings is CCDSettings
    assert Analysis.Settings is AnalysisSettings  # left as it was


def test_products_of_one_kind_are_picked_without_being_opened():
    class Closed:
        def __init__(self, kind):
            self.info = ProductInfo(kind)

        def load(self):
            raise AssertionError

        def section(self, rows, cols=None):
            raise AssertionError

    products = [Closed("image"), Closed("table"), Closed("lightcurve"), Closed("image")]
    assert of_kind(products, Image) == [products[0], products[3]]
    assert of_kind(products, Table) == [products[1]]  # a light curve is a kind of its own
    assert of_kind([], TimeSeries) == []


def test_a_part_of_a_container_in_memory_is_of_its_own_type():
    table = Table({"x": [1.0, 2.0, 3.0]})
    assert len(MemoryHandle(table, ProductInfo("table")).section(slice(2))) == 2
