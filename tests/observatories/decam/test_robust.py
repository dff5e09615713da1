"""Runs of a simulated night that are killed in every step, and run again: the same rows."""

from support.kills import check_kills


def night(workers):
    """Return the configuration of three exposures of a small chip, searched in all ways there are."""
    return {
        "name": "killed",
        "catalog": {"name": "field", "rows": [{"name": "LMC", "ra": 92.253, "dec": -70.7387, "kind": "field"}]},
        "observatories": {
            "decam": {
                "archive": "simulated",
                "simulation": {"exposures": 3, "ccds": ["N24"], "size": [200, 240], "density": 1200.0,
                               "mag": [14.5, 19.5], "events": 2, "steps": 10},
                "drift_astrom": {"fewest": 5},
                "detrend": {"fewest": 4},
            }
        },
        "analyses": {"driftscan": {"simulate": {"number": 4}}, "starcurves": {"min_epochs": 3}},
        "run": {"workers": workers},
    }  # fmt: skip


def test_a_run_killed_in_each_step_leaves_the_rows_of_an_undisturbed_one(tmp_path, new_url):
    calm, steps = check_kills(night(1), tmp_path, new_url)
    assert len(calm["detection"]) >= 2
    assert len(steps) >= 7, steps
