"""A small existing-looking API, and the traffic that shows what the middleware does with it."""
