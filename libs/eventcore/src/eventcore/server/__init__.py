"""The server: how it is reached, what it runs for us, and what it must be like."""
