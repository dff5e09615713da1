"""One time series or many: statistics, quality, events, templates, cadence, ensembles. Knows no survey."""
