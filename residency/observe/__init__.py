"""What is counted and logged: metric cells and names."""
