"""Files as the older chain of LSSS (autossos, ssos) wrote them, with its names and columns.

::

    ssos_PROJECT.csv, calib_ssos_PROJECT.csv, validcalib_ssos_PROJECT.csv    a row for each body and epoch
    Stats.dat, coeff_fit.csv                                                 a row for each image
    match_full_N.cat                                                         stars of the images of the Nth field
    list_outliers.csv, list_notsolved.csv                                    nights with such images, if there are any
    NAME_period.txt                                                          the period of each body that has one
    cutouts/SOURCE_CATALOG.fits                                              each epoch of each body, if asked for
"""

from virtualobserver.exports.lsss_files.write import LSSSFiles, LSSSFilesSettings

__all__ = ["LSSSFiles", "LSSSFilesSettings"]
