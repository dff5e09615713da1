"""What injected events are told by stands at the axes of pictures and heads of tables, with its unit."""

from __future__ import annotations

import pandas as pd
import pytest

from virtualobserver import plugins
from virtualobserver.plot.searches import searches
from virtualobserver.plot.statistics import efficiency as efficiency_figure
from virtualobserver.run.views.efficiency import brief
from virtualobserver.simulate import SearchEfficiency, efficiency

NO_UNIT = {"expected likelihood", "S/N for who knows form and time"}
LABELS = {"amplitude": "amplitude [robust rms]", "width": "width [d]"}


@pytest.mark.parametrize("name", plugins.names("analyses"))
def test_every_analysis_that_comes_along_names_the_units_of_strength(name):
    analysis = plugins.load("analyses", name)()
    for strength in {*analysis.strength, *(one for names in analysis.strengths.values() for one in names)}:
        label = analysis.axis_label(strength)
        assert label in NO_UNIT or label.endswith("]"), f"{name}: {label}"


def test_units_of_amplitudes_follow_the_settings():
    transients = plugins.load("analyses", "transients")
    assert transients().axis_label("amplitude") == LABELS["amplitude"]
    assert (
        transients(simulate={"amplitude_unit": "relative"}).axis_label("amplitude") == "amplitude [mean flux]"
    )


def test_pictures_and_tables_of_efficiency_say_the_units():
    rows = [
        {"kind": "flare", "amplitude": 3.0 + n, "width": 1.0 + n % 5, "found": n > 4, "covered": True}
        for n in range(20)
    ]
    table = efficiency(pd.DataFrame(rows), ("amplitude", "width"))
    facts = {"injected": 20, "covered": 20, "recovered": 15, "found": 0}
    figure = searches([SearchEfficiency("transients", "flare", ("amplitude", "width"), table, facts, LABELS)])
    assert figure.axes[0].get_xlabel() == LABELS["amplitude"]
    assert LABELS["width"] in {text.get_text() for text in figure.axes[3].texts}
    table.attrs["axes"] = LABELS
    assert efficiency_figure(table).axes[0].get_xlabel() == LABELS["amplitude"]
    assert list(brief(table).columns[:2]) == list(LABELS.values())


def test_a_parameter_that_is_alike_in_all_events_is_told_as_well():
    rows = [
        {"kind": "flash", "fluence": 1e3 * (1 + n), "seeing": 1.05, "found": n > 4, "covered": True}
        for n in range(20)
    ]
    table = efficiency(pd.DataFrame(rows), ("fluence", "seeing"), bins={"fluence": 4, "seeing": 1})
    facts = {
        "injected": 20, "covered": 20, "recovered": 15, "found": 2, "sources": 1, "unit": "deg2 h", "confidence": 0.95,
        "exposure": 0.0012, "rate": 2415.3, "rate_low": 812.0, "rate_high": 108_000.0, "rate_limit": 1_234_567.0,
    }  # fmt: skip
    labels = {"fluence": "fluence [electron]", "seeing": "seeing [arcsec]"}
    figure = searches([SearchEfficiency("driftscan", "flash", ("fluence", "seeing"), table, facts, labels)])
    said = [text.get_text() for text in figure.axes[3].texts]
    assert "seeing [arcsec]: 1.05" in said
    assert "rate 2400 (810 – 110000) per deg² h\nless than 1.2e6 per deg² h (95%)" in said[-1]
