"""Measures of counting, on NumPy arrays."""
