"""In: nothing but this checkout. Out: what the middleware costs, printed (`make bench`)."""
