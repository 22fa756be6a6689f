"""Sub-goals and paths in joint space: constraints in, arm positions out."""
