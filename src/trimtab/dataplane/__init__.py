"""What happens to one request, stage by stage."""
