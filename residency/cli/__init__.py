"""The command line: `residency …`."""
