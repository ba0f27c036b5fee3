"""What speculative decoding gains on the embedded engine, and what the governor makes of it."""
