"""What tests share: made data, loopback archives, real data, projects."""
