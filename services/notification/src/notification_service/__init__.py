"""The notification service tells customers what became of their orders."""
