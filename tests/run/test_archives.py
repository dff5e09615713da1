"""Which archive a survey of a configuration reads: one folder or several, and never nothing by a slip."""

import pytest

from virtualobserver import plugins
from virtualobserver.config.load import load
from virtualobserver.config.project import MOST_WORKERS
from virtualobserver.errors import ConfigError
from virtualobserver.run.steps import build_steps


def steps(archive, **run):
    survey = {"folder": {"archive": archive}}
    rows = [{"name": "a", "ra": 1, "dec": 2}]
    given = {"name": "t", "catalog": {"rows": rows}, "observatories": survey, "run": run}
    return build_steps(load(given, resolve=plugins.settings_of).settings)


def test_several_folders_are_one_archive_that_another_list_is_not(tmp_path):
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    fetch = steps([one, two])[0]
    assert fetch.folders == (one, two)
    assert fetch.archive.splitlines() == [one, two]
    assert fetch.archive != steps([one])[0].archive == steps(one)[0].archive


@pytest.mark.parametrize("archive", ["", [], [""], ["a", ""]])
def test_no_folder_by_a_slip_is_not_the_live_archive(archive):
    with pytest.raises(ConfigError, match="should name a folder"):
        steps(archive)


def test_more_workers_than_any_machine_has_cores_are_refused():
    with pytest.raises(ConfigError, match=f"at most {MOST_WORKERS}"):
        steps("a", workers=10**9)
