"""The statistic of the published search, kept beside ours. Draws nothing and opens no file."""
