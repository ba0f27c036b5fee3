"""What a million requests leave behind in a gateway: see README.md beside this file."""
