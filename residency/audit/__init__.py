"""The trail: entries to bytes, bytes to a journal, journals to one transparency log that an outsider can verify."""
