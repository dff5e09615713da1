"""What linking finds where the truth is known: simulated fields, stored sequences, real frames."""

import numpy as np
import pytest
from support.paths import ROOT
from support.real import real_data

from truth.measure_linking import recovered, rows, sequence

PAGE = (ROOT / "docs" / "moving_objects.md").read_text(encoding="utf-8")


def test_most_movers_of_fields_it_has_not_seen_are_found_and_nothing_else():
    for row in rows(1, 41):
        if row.method == "link":
            share = row.hits / max(row.tries, 1)
            assert share >= 0.85 if row.what == "recall" else row.hits <= 1, row


@pytest.mark.real
def test_the_stored_sequences():
    folder = real_data("sso", "sim_sequences")
    right, false, _ = np.sum([recovered(*sequence(folder, n), "link") for n in range(3)], axis=0)
    assert right >= 105
    assert false <= 2
    assert f"| `link` | {right} of 120 | {false} |" in PAGE


@pytest.mark.real
def test_the_chain_finds_what_the_program_found():
    import pandas as pd

    folder = real_data("sso", "sim_sequences")
    movers = pd.read_csv(folder / "movers.csv")
    found = 0
    for n in range(3):
        right, false, _ = recovered(*sequence(folder, n), "ssos")
        found += right
        assert right == (movers["ref_ssos_ndet"][movers["field"] == n] >= 4).sum()
        assert false == 0
    assert f"| `ssos` | {found} of 120, those that the program finds | 0 |" in PAGE
