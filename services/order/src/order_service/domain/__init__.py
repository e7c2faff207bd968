"""The rules of orders: pure functions from facts to transactions."""
