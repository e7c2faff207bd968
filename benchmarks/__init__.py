"""Measurements: what eventcore costs beside hand-written code and other libraries that do the same work."""
