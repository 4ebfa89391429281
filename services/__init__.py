"""The four services. Each owns its facts; none imports another."""
