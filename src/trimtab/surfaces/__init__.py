"""How the world reaches the data plane: HTTP, processes, the simulation."""
