"""Where archives themselves show raw data: addresses of the forms that they document."""

from __future__ import annotations

import pytest

from virtualobserver.data.product import RawRef
from virtualobserver.observatories.decam import VirtualDECam
from virtualobserver.observatories.demo import VirtualDemo
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatories.ztf import VirtualZTF

ESO = "https://archive.eso.org/dataset/"
ADP = f"{ESO}ADP.2014-09-16T11:05:37.323"
MD5 = "004d537b1347daa12f8361f5d69bc09b"
IRSA = "https://irsa.ipac.caltech.edu/cgi-bin/ZTF/nph_light_curves"
TEN = "&".join(f"ID={n}" for n in range(1, 11))
TWO = "ID=686103400034440&ID=686203400034441"


@pytest.mark.parametrize(
    ("survey", "name", "header", "page"),
    [
        (VirtualHARPS, "ADP.2014-09-16T11:05:37.323", {}, ADP),
        (VirtualHARPS, "ADP.2014-09-16T11_05_37.323", {}, ADP),
        (VirtualHARPS, "HARPS.2004-02-10T08:00:00.123_e2ds_A", {}, f"{ESO}HARPS.2004-02-10T08:00:00.123"),
        (VirtualHARPS, "beta Pic gaia", {}, None),
        (VirtualHARPS, 'x"ADP.2014-09-16T11:05:37.323', {}, None),
        (VirtualHARPS, "ADP.2014-09-16T11:05:37.3231", {}, None),
        (VirtualZTF, "any", {"oids": [686103400034440, 686203400034441]}, f"{IRSA}?{TWO}&FORMAT=ipac_table"),
        (VirtualZTF, "any", {"oids": list(range(1, 100))}, f"{IRSA}?{TEN}&FORMAT=ipac_table"),
        (VirtualZTF, "forced", {}, None),
        (VirtualDECam, "c4d_1.fits.fz[N4]", {"md5": MD5}, f"https://astroarchive.noirlab.edu/api/header/{MD5}/"),
        (VirtualDECam, "c4d_1.fits.fz[N4]", {"md5": "../" + MD5}, None),
        (VirtualDECam, "c4d_1.fits.fz[N4]", {}, None),
        (VirtualDemo, "ADP.2014-09-16T11:05:37.323", {"md5": MD5}, None),
    ],
)  # fmt: skip
def test_only_what_bears_a_number_of_its_archive_has_a_page(survey, name, header, page):
    assert survey().archive_page(RawRef(name, "fits", bytes, header=header)) == page
