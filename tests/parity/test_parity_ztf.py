"""What users of the AstroRetriever framework expect of a ZTF download, without the network."""

from __future__ import annotations

import numpy as np
from support.ztf import OID, Client, csv, reduced, row

from virtualobserver.data.product import Target
from virtualobserver.observatories.ztf import VirtualZTF, query

BANDS = {OID: "zg", OID + 1_000_000_000: "zr", OID + 2_000_000_000: "zi"}


def test_parity_53_three_stars_come_with_three_filters_and_the_request_they_answer():
    asked: list[tuple[str, dict[str, object]]] = []

    def answer(url, params):
        asked.append((url, dict(params)))
        if url == query.TAP_URL:
            lines = [f"{oid},10,20,{band},686,3,4,5" for oid, band in BANDS.items()]
            return ("oid,ra,dec,filtercode,field,ccdid,qid,ngoodobs\n" + "\n".join(lines) + "\n").encode()
        return csv(*(row(n, oid=oid, band=band) for oid, band in BANDS.items() for n in range(5)))

    stars = [Target(f"wd{i}", ra=10.0, dec=20.0, mag=18.0) for i in range(3)]
    survey = VirtualZTF(radius=2.0)
    landed = list(survey.fetch(stars, Client(answer=answer)))
    assert [target.name for target, _ in landed] == ["wd0", "wd1", "wd2"]
    for target, raw in landed:
        products = reduced(survey, [raw], target)
        assert {product.band for product in products} == {"zg", "zr", "zi"}
        assert sum(len(product.data) for product in products) == 15
        assert all(
            (product.data.mjd > 0).all() and np.isfinite(product.data.flux).all() for product in products
        )
        # what was asked is kept with the answer
        assert raw.header["release"]
        assert raw.header["route"] == "id"
        assert "ID 10.0000000 20.0000000" in raw.archive_id
    # the objects of one place are asked for once, the light curves of each star
    assert [url == query.TAP_URL for url, _ in asked].count(False) == 3
