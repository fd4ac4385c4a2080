"""Policy files to decisions: text and facts in, a total `decide` and its reasons out."""
