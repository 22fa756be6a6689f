"""Checkpoint + scenes -> a success rate with its interval, reasons and videos."""
