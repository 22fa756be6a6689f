"""Datasets: LeRobot v3 folders, the simulator side-car, the training cache."""
