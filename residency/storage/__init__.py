"""Stores and sinks: which backend takes a subject's data under a decision."""
