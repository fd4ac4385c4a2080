"""What was observed of a request, and how far to trust it: headers and claims in, signals out."""
