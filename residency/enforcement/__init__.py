"""The enforcement point: calls each stage in turn, starts acts, records them."""
