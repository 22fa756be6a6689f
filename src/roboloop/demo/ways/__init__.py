"""Ways of the arm: reach, clearance, transits. States and poses in, joint paths out."""
