"""The benchmark: suites of models × attacks × data, finished shards that are never lost, and how to read them."""
