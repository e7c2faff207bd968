"""The rules of notifying customers: pure functions from events to notifications and their records."""
