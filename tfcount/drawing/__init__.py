"""Figures, and what is drawn over images: arrays and numbers in, pixels or PNG files out."""
