"""Operating: looking at streams, groups and dead letters, and looking after them."""
