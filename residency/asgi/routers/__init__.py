"""Readers of apps' own routes, one a framework: an app in, how it routes out, or None where it is not theirs."""
