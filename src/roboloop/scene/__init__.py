"""Capture -> scene folder: the scene graph, its assets, its cousins."""
