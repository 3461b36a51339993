"""What is measured of an answer, each with its source and unit."""
