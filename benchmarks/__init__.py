"""Measurements: what eventcore costs beside hand-written redis-py code that does the same work in the same run."""
