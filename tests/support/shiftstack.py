"""What tests of shift and stack share."""

import numpy as np

from virtualobserver.maths.shiftstack.images import LikelihoodImages, psf_sigma, psi_phi


def likelihood_images(frames, *, masked="ml"):
    """Return psi and phi of all frames."""
    planes = zip(frames.science, frames.variance, frames.psf, strict=True)
    psi, phi = zip(*(psi_phi(*plane, masked=masked) for plane in planes), strict=True)
    return LikelihoodImages(
        np.array(psi), np.array(phi), frames.tau, np.array([psf_sigma(kernel) for kernel in frames.psf])
    )


def shift_frames(planes, dx, dy):
    """Bring frames onto the grid of the first by whole pixels, NaN where they do not reach."""
    _, ny, nx = planes.shape
    result = np.full(planes.shape, np.nan, np.float32)
    for number, (right, up) in enumerate(zip(dx, dy, strict=True)):
        y0, y1, x0, x1 = max(0, -up), min(ny, ny - up), max(0, -right), min(nx, nx - right)
        result[number, y0:y1, x0:x1] = planes[number, y0 + up : y1 + up, x0 + right : x1 + right]
    return result
