"""The life of one batch: claim, fetch or read, compute, write, commit. Knows no project and no view."""
