"""All that a workspace keeps: backed up while it serves, and restored."""
