"""Counters outside of training: SavedModels."""
