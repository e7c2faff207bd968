"""The rules of the inventory: pure functions from facts to transactions."""
