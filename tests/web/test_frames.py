"""Frames are reached from what was found in them: from the data of a candidate, and from the page of a body."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from support.vetting import client

from virtualobserver.web.frames import frame_of, frames_of

# The light curve that a candidate was found in as if it were an image: what the pages ask of it is the same.
AS_IMAGE = """
    UPDATE product SET kind = :kind WHERE id = (
      SELECT i.product_id FROM detection d JOIN task_input i ON i.task_id = d.task_id JOIN product p ON p.id = i.product_id
      JOIN task t ON t.id = p.task_id WHERE d.id = :id AND t.step LIKE 'reduce:%' ORDER BY 1 LIMIT 1) RETURNING id"""


@pytest.fixture
def frame(project, numbers):
    def turn(kind):
        with project.session() as session, session.begin():
            return session.execute(text(AS_IMAGE), {"kind": kind, "id": numbers[0]}).scalar_one()

    yield turn("image")
    turn("lightcurve")


def test_a_frame_is_reached_from_the_data_of_a_candidate_and_from_a_body_in_its_field(
    project, numbers, frame
):
    assert f"/frame?product={frame}" in client(project).get(f"/data/metadata/{numbers[0]}").json()["html"]
    row = frame_of(project, frame)
    assert [one["id"] for one in frames_of(project, row["source_id"])] == [frame]
    with project.session() as session, session.begin():
        session.execute(
            text("""INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id)
            SELECT 'moved', 'M2', ra, dec, hpx, 'moving', id FROM source WHERE id = :field"""),
            {"field": row["source_id"]},
        )
        session.execute(
            text("""INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd,
              end_mjd, band, snr, quality, parameters, simulated)
            SELECT s.id, d.task_id, d.product_id, 100, d.analysis, 'mover', d.peak_mjd, d.peak_mjd, d.peak_mjd, d.band, 9.0,
              0, '{}', true FROM source s, detection d WHERE s.namespace = 'moved' AND d.id = :id"""),
            {"id": numbers[0]},
        )
    try:
        assert f"/frame?product={frame}" in client(project).get("/source", params={"name": "M2"}).text
    finally:
        with project.session() as session, session.begin():
            session.execute(text("DELETE FROM source WHERE namespace = 'moved'"))
