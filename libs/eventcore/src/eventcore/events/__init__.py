"""Events: immutable facts, and the JSON in which they stand in streams."""
