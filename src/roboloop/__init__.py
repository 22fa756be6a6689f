"""roboloop closes the loop real -> simulation -> real for robot learning."""

__version__ = "0.1.0"
