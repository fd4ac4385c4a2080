"""One file per outside thing; none imports another."""
