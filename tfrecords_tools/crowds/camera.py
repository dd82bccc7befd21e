"""The perspective in which the ground is seen."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Camera:
    """How the ground is seen.

    Attributes:
      horizon: row at which the ground begins; 0 or above where it fills the picture.
      ratio: size of a head at the bottom of the picture over its size at the horizon.
      squeeze: how much of its height a body keeps: 1 seen from eye level, small seen from above.
      scale: height in pixels of a head at the bottom of the picture.
    """

    horizon: float
    ratio: float
    squeeze: float
    scale: float

    def relative_size(self, rows: np.ndarray, height: int) -> np.ndarray:
        """Size of a head at the rows of a picture, over its size at the bottom."""
        depth = np.clip((rows - self.horizon) / max(height - self.horizon, 1.0), 0.0, 1.0)
        return 1.0 / self.ratio + (1.0 - 1.0 / self.ratio) * depth

    def head_size(self, rows: np.ndarray, height: int) -> np.ndarray:
        """Height in pixels of heads at the rows of a picture."""
        return self.scale * self.relative_size(np.asarray(rows, np.float64), height)
