"""The page of a flare says what let it pass: an S/N below the threshold is none of the reasons."""

from __future__ import annotations

import pytest

from virtualobserver.analyses.exocomets.panels import _LEAST_FAP
from virtualobserver.analyses.transients.panels import _asked
from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.data.curve_panels import event_facts
from virtualobserver.data.result import Event


def event(**parameters):
    return Event(
        kind="flare", peak_mjd=1.0, start_mjd=0.0, end_mjd=2.0, snr=4.91, score=4.91, parameters=parameters
    )


@pytest.mark.parametrize(
    ("parameters", "settings", "words"),
    [
        ({"p_value": 2e-4}, {"false_alarm": 0.01}, "several epochs pass by p value ≤ 0.01, not by S/N"),
        ({}, {"snr_threshold": 6.0}, "passed by S/N above 6"),
        ({"p_value": 2e-4}, {"method": "published", "snr_threshold": 3.0}, "passed by S/N above 3"),
    ],
)
def test_what_let_an_event_pass_is_said(parameters, settings, words):
    assert _asked(event(**parameters), TransientsSettings(**settings)) == words


def test_a_chance_below_what_was_tried_is_said_to_be_below():
    rows = {
        name: value for name, value, _ in event_facts(event(fap=0.0, p=0.5), least={"fap": _LEAST_FAP}).rows
    }
    assert (rows["fap"], rows["p"]) == ("< 0.001", 0.5)
    kept = event_facts(event(fap=0.002), least={"fap": _LEAST_FAP}).rows
    assert ("fap", 0.002) in {row[:2] for row in kept}
