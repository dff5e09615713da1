"""The recipe that camera surveys share: from raw frames of a detector to calibrated, solved and measured ones.

It knows no survey: what is particular to one comes from its settings. Never here: what one telescope alone does.
"""
