"""One search for all tests of the vetting page; each begins without verdicts."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from support.cli import searched
from support.vetting import write_config

from virtualobserver import Project


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Return a folder with a configuration that was run; its server stays up."""
    folder = tmp_path_factory.mktemp("vetting")
    with searched(folder, write_config(folder)):
        yield folder


@pytest.fixture(scope="session")
def opened(place):
    with Project.open(place / "vetted.yaml", data=place / "data") as project:
        yield project


@pytest.fixture
def project(opened):
    """Return the project, with no verdict given."""
    with opened.session() as session, session.begin():
        session.execute(text("DELETE FROM classification"))
    return opened


@pytest.fixture
def numbers(project):
    """Return the numbers of the candidates, the strongest first."""
    found = project.detections(simulated=True)
    found = found[found["injection_id"].isna()]
    return found.reindex(found["snr"].abs().sort_values(ascending=False).index)["id"].tolist()


@pytest.fixture
def injected(project):
    """Return the numbers of the detections of injected events."""
    found = project.detections(simulated=True)
    return found[found["injection_id"].notna()]["id"].tolist()
