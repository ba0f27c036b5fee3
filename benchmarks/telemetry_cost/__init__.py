"""What records, metrics and traces add to the CPU of a request."""
