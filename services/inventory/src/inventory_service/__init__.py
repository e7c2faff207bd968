"""The inventory service keeps the stock and reserves it for orders."""
