"""A camera of somebody else is one short file, and keeps what every survey must keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.paths import PLUGINS

from virtualobserver import plugins
from virtualobserver.ccd.folder import folder_raws
from virtualobserver.ccd.instrument import Instrument
from virtualobserver.errors import ConfigError
from virtualobserver.testing import SurveySuite
from virtualobserver.testing.surveys import simulated, units

TOY = str(PLUGINS / "toycam.py")


class TestToyCamera(SurveySuite):
    plugin = TOY

    @pytest.fixture
    def database_url(self, url):
        return url


def toy():
    made = plugins.load("observatories", TOY)
    return made(**made.contract.options)


def test_it_is_a_file_of_sixty_lines():
    assert len(Path(TOY).read_text().splitlines()) <= 60


def test_its_frames_are_calibrated_with_its_own_keywords_units_and_limits():
    survey = toy()
    ((raws, aux), _) = units(survey)
    (product,) = survey.reduce(raws, aux, survey.settings)
    assert set(aux.masters) >= {"bias", "dark", "flat"}
    assert product.data.header["EXPTIME"] == 60.0
    assert product.statistics["sky"] == pytest.approx(300, abs=8)


def test_a_configuration_goes_before_the_instrument_and_keeps_the_rest_of_it():
    model = plugins.settings_of("observatories", TOY)
    settings = model(saturation=4095.0, keywords={"type": "IMAGETYP"})
    assert (settings.saturation, settings.keywords.type, settings.camera) == (4095.0, ["IMAGETYP"], "Toy 60")
    assert settings.keywords.exptime.keyword == ["ITIME"]
    assert settings.keywords.exptime.unit == "ms"


def test_an_instrument_is_read_from_yaml_as_it_is_written_in_python(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text("camera: Toy 60\nlayout: raw\nsaturation: 16383.0\n"
                    "keywords: {exptime: {keyword: ITIME, unit: ms}, type: WHAT}\n"
                    "layouts: {raw: {folder: 'raw/\\d{4}-\\d{2}-\\d{2}', example: raw/DATE/*.fits}}\n")  # fmt: skip
    assert Instrument.read(path) == plugins.settings_of("observatories", TOY).instrument


@pytest.mark.parametrize(
    "text", ["saturatoin: 3", "saturation: [", "keywords: {exptime: {keyword: X, unit: kg}}"]
)
def test_a_file_that_is_no_instrument_is_refused_by_name(tmp_path, text):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"camera\.yaml: not an instrument"):
        Instrument.read(path)


def test_frames_lie_where_its_layout_says(tmp_path):
    survey = toy()
    rng = np.random.default_rng(1)
    for _, raw in survey.simulate_raw(survey.contract.targets, rng):
        for place in (raw.archive_id, raw.archive_id.replace("raw/", "other/")):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_bytes(raw.content)
    found = simulated(survey, 1)
    assert [raw.archive_id for raw in folder_raws([tmp_path], survey.settings)] == sorted(
        raw.archive_id for raw in found
    )
