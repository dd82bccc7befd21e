"""Which pair, region or image to label next, and what labels tell."""
