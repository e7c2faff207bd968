"""Commits: what a piece of work decides, taken to the server as a whole or not at all."""
