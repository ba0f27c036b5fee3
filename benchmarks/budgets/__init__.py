"""How well a budget is kept by many streams at once: see README.md beside this file."""
