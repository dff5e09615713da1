"""Arrays in, arrays out: a wing for each subject, files for what all of them use.

Knows no file, no row, no picture and no plug-in.
"""
