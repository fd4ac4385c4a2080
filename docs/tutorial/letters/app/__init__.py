"""Letters: people and what they wrote."""
