"""What one tenant learns, by the time of its own requests, of what another has asked."""
