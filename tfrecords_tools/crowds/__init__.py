"""Crowds with perspective, rendered from nothing but random numbers: every head of a picture is known exactly.

`planning` plans a picture: the camera, where people stand, what else stands about. `rendering` paints the plan: first
the background, then everything that stands on the ground from far to near, then light and camera.
Lengths of a person are in heads: 1 is the height of a head from crown to chin.
"""
