"""In: what the enforcement point counts. Out: plain-integer cells that a scrape turns into Prometheus metrics."""
