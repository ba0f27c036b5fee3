"""What searches vectors."""
