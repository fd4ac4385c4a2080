"""Whose law covers this person: signals and a pin in, a Finding out."""
