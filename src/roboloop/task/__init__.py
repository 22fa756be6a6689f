"""Scene + sentence -> task.json: roles, stages, constraints, success."""
