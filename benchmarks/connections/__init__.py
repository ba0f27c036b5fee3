"""What a connection costs a gateway in memory: see README.md beside this file."""
