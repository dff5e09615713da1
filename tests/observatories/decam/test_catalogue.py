"""Lists of targets and published catalogues: what is taken of them, and what is refused."""

from __future__ import annotations

import pytest

from virtualobserver.data.product import Aux, Raw, RawRef, Target
from virtualobserver.errors import InvalidFile
from virtualobserver.observatories.decam.catalogue import make_master
from virtualobserver.observatories.decam.settings import DECamSettings


def master(text, header, key="", **settings):
    raw = RawRef.of(Raw("list.csv", "csv", content=text.encode(), key=key, header=header))
    (made,) = make_master([raw], Aux(Target("DECam", kind="instrument")), DECamSettings(**settings))
    return made.data


def targets(text, **settings):
    return master(text, {"what": "targets"}, targets={"csv_path": "list.csv", **settings})


def test_targets_without_a_place_on_the_sky_are_left_out():
    text = "star_id,ra,dec\na,92.1,-70.7\nb,,-70.7\nc,92.2,-99\nd,400,-70\ne,92.3,-70.6\n"
    found = targets(text, ra_col_name="ra", dec_col_name="dec")
    assert found["name"].tolist() == ["a", "e"]
    assert found["ra"].tolist() == [92.1, 92.3]


def test_positions_that_are_no_numbers_are_refused_with_file_and_column():
    text = "star_id,ra,dec\na,06:08:24,-70:42:00\n"
    with pytest.raises(InvalidFile, match=r"list.csv: column ra holds what is no number .* decimal degrees"):
        targets(text, ra_col_name="ra", dec_col_name="dec")


def test_a_published_catalogue_gives_the_stars_of_its_chip():
    text = "chp,ref_star_id,x,y,flux,ra,dec\nN24,N24-star-1,1,2,100,92.1,-70.7\nN25,N25-star-1,5,6,50,92.5,-70.2\n"
    found = master(text, {"what": "catalogue", "ccd": "N24"}, key="N24")
    assert found["name"].tolist() == ["N24-star-1"]
    assert found["mag"].tolist() == [-5.0]
    assert (
        found["star_id"].tolist()
        == master(text, {"what": "catalogue", "ccd": "N24"}, key="N24")["star_id"].tolist()
    )
    with pytest.raises(InvalidFile, match="column flux holds what is no number"):
        master(text.replace("100", "bright"), {"what": "catalogue", "ccd": "N24"}, key="N24")
