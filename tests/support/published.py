"""The published search of exocomets, spectrum by spectrum and pixel by pixel: the oracle of the fast one."""

import numpy as np

LIGHT = 3e5


def median_of_three(values, j):
    low, high = max(j - 1, 0), min(j + 1, len(values) - 1)
    return np.median([values[low], values[j], values[high]])


def normalised(flux, v):
    total, count = 0.0, 0
    for j in range(len(v)):
        if v[j] < -200 or v[j] > 200:
            total += flux[j]
            count += 1
    return flux / (total / count)


def deviation(values):
    values = np.asarray(values)
    return np.sqrt(np.mean((values - np.mean(values)) ** 2))


def outer_noise(spectra, v):
    outer = [j for j in range(len(v)) if abs(v[j]) > 200]
    reference = np.array([np.median([one[j] for one in spectra]) for j in outer])
    return [deviation(np.array([one[j] for j in outer]) - reference) for one in spectra], np.median(reference)


def core_velocity(median, v, rest):
    inner = [j for j in range(len(v)) if abs(v[j]) < 100]
    wave = rest * (1 + v[inner] / LIGHT)
    template = np.exp(-((wave - rest) ** 2) / (2 * 0.2**2))
    return v[inner][np.argmax(np.correlate(median[inner], template, "same"))]


def run_length(sigma, at):
    width = 1
    for step in (-1, 1):
        j = at + step
        while 0 <= j < len(sigma) and sigma[j] <= -3:
            width += 1
            j += step
    return width


def published(flux, v, rest, threshold=-4.0, rv_min=-200.0, rv_max=200.0, cutoff=2.0, width_filt=3):
    """Return {spectrum: (minimum, velocity, width, depth, detected)} of the spectra that were searched."""
    spectra = []
    for one in flux:
        level = normalised(one, v)
        spectra.append(np.array([median_of_three(level, j) for j in range(len(v))]))
    noise, level = outer_noise(spectra, v)
    kept = [i for i in range(len(spectra)) if noise[i] <= 0.25 * level]
    if len(kept) <= 1:
        return {}
    used = [spectra[i] for i in kept]
    median = np.array([np.median([one[j] for one in used]) for j in range(len(v))])
    spread = np.array([deviation([one[j] for one in used]) for j in range(len(v))])
    masked = np.zeros(len(v), bool)
    if any(median[j] > cutoff for j in range(len(v)) if abs(v[j]) < 100):
        masked = np.abs(v - core_velocity(median, v, rest)) < 50
    window = [j for j in range(len(v)) if rv_min < v[j] < rv_max]
    found = {}
    for i, one in zip(kept, used, strict=True):
        error = deviation(one - median)
        statistic = (one - median) / np.sqrt(error**2 + spread**2)
        statistic[masked] = np.nan
        sigma = statistic / deviation(statistic[~masked])
        inside = sigma[window]
        at = int(np.nanargmin(inside))
        width = run_length(inside, at)
        j = window[at]
        depth = (median[j] - one[j]) / median[j]
        found[i] = (inside[at], v[j], width, depth, bool(inside[at] < threshold and width >= width_filt))
    return found


def published_numpy(flux, v, rest, threshold=-4.0, rv_min=-200.0, rv_max=200.0, cutoff=2.0, width_filt=3):
    """Return the same by a loop over spectra whose pixels NumPy and SciPy handle: the usual way to write it."""
    from scipy.ndimage import median_filter

    outer = (v < -200) | (v > 200)
    spectra = np.array([median_filter(one / one[outer].mean(), 3, mode="nearest") for one in flux])
    reference = np.median(spectra[:, outer], axis=0)
    kept = [
        i for i in range(len(spectra)) if np.std(spectra[i, outer] - reference) <= 0.25 * np.median(reference)
    ]
    if len(kept) <= 1:
        return {}
    median, spread = np.median(spectra[kept], axis=0), np.std(spectra[kept], axis=0)
    masked = np.zeros(len(v), bool)
    if (median[np.abs(v) < 100] > cutoff).any():
        masked = np.abs(v - core_velocity(median, v, rest)) < 50
    window = (v > rv_min) & (v < rv_max)
    found = {}
    for i in kept:
        one = spectra[i]
        statistic = (one - median) / np.sqrt(np.std(one - median) ** 2 + spread**2)
        statistic[masked] = np.nan
        inside = (statistic / np.nanstd(statistic))[window]
        at = int(np.nanargmin(inside))
        width = run_length(inside, at)
        depth = (median[window][at] - one[window][at]) / median[window][at]
        found[i] = (
            inside[at],
            v[window][at],
            width,
            depth,
            bool(inside[at] < threshold and width >= width_filt),
        )
    return found
