"""DECam driftscan."""
