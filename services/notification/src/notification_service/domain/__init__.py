"""The rules of telling customers: pure functions from events to notifications and their records."""
