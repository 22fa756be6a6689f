"""A run folder -> one self-contained web page."""
