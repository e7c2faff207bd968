"""The order service accepts orders and follows each to its end."""
