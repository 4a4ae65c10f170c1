"""A seeded simulator of the peer room's pure cores: virtual time, latency, loss, churn, partitions, liars."""
