"""Consuming: a delivery's way from reading to settling."""
