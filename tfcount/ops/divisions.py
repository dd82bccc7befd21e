"""Divisions of maps: how an image is divided, pooled, and read again at another scale without losing anybody.

Everything is separable: what happens to rows and to columns are two small matrices, made for whatever size comes.
"""

from typing import Any, NamedTuple

from keras import ops


class Divisions(NamedTuple):
    """Some of the divisions of a batch of maps, and the size at which each is looked at again.

    Attributes:
      image: `(n,)` int32, the index of the map in the batch.
      row: `(n,)` int32, row of the division among the divisions of its map, from 0.
      column: `(n,)` int32, likewise.
      top: `(n,)` int32, first row of cells; likewise `bottom` (the first one below), `left` and `right`.
      bottom: see `top`.
      left: see `top`.
      right: see `top`.
      height: `(n,)` int32, rows of the scaled division: its own times its scale, rounded, at least 1.
      width: `(n,)` int32.
      scale_y: `(n,)` float32, `height / (bottom - top)`; the gradient of the scale factor passes through it.
      scale_x: `(n,)` float32.
    """

    image: Any
    row: Any
    column: Any
    top: Any
    bottom: Any
    left: Any
    right: Any
    height: Any
    width: Any
    scale_y: Any
    scale_x: Any


def cell_range(count):
    """Returns 0, 1, ... count - 1 as float32."""
    return ops.cast(ops.arange(count, dtype="int32"), "float32")


def division_edges(length, divisions: int):
    """Returns where the divisions of one side of a map begin and end: `(divisions + 1,)` int32, cells.

    Division i goes from `floor(i * length / divisions)` to `floor((i + 1) * length / divisions)`: sizes differ by one
    cell at most, and are zero where there are more divisions than cells.
    """
    return ops.arange(divisions + 1, dtype="int32") * ops.cast(length, "int32") // divisions


def averaging_matrix(length, bins: int):
    """Returns the matrix `(bins, length)` that averages one side of a map in bins.

    Bin i averages the cells from `floor(i * length / bins)` to `ceil((i + 1) * length / bins)`: every bin has at least
    one cell, whatever the length.

    Source: adaptive average pooling as PyTorch defines it; equal bins where the length is a multiple of `bins`.
    """
    length = ops.cast(length, "int32")
    first = ops.arange(bins, dtype="int32")
    start, end = first * length // bins, -(-(first + 1) * length // bins)
    cells = ops.arange(length, dtype="int32")[None]
    inside = ops.logical_and(cells >= start[:, None], cells < end[:, None])
    return ops.cast(inside, "float32") / ops.cast(end - start, "float32")[:, None]


def interpolation_matrix(positions, length):
    """Returns the matrix that reads one side of a map at some positions by linear interpolation.

    The weight of cell k at position p is `max(0, 1 - |p - 0.5 - k|)`; outside of the map its border goes on.

    Args:
      positions: `(..., n)` float32, cells: the center of cell k is at k + 0.5. The gradient is that of the weights.
      length: number of cells.

    Returns:
      `(..., n, length)` float32.
    """
    centered = ops.clip(positions - 0.5, 0.0, ops.cast(length - 1, "float32"))
    return ops.relu(1.0 - ops.abs(centered[..., None] - cell_range(length)))


def overlap_matrix(edges, source_edges):
    """Returns the matrix that shares out what lies in the cells along one side of a map among other cells along it.

    Args:
      edges: `(..., n + 1)` float32, where the n cells of the result begin and end.
      source_edges: `(..., m + 1)` float32, where the m cells of the source begin and end, in the same unit.

    Returns:
      `(..., n, m)` float32: the part of source cell j that lies in cell i. A source cell that lies inside all of the
      result has parts that add up to 1.
    """
    start, end = edges[..., :-1, None], edges[..., 1:, None]
    source_start, source_end = source_edges[..., None, :-1], source_edges[..., None, 1:]
    common = ops.relu(ops.minimum(end, source_end) - ops.maximum(start, source_start))
    return common / (source_end - source_start)


def apply_separable(rows, maps, columns):
    """Computes `rows @ map @ columns^T` for each channel.

    Args:
      rows: `(n, height)` or `(batch, n, height)`.
      maps: `(batch, height, width, channels)`.
      columns: `(m, width)` or `(batch, m, width)`.

    Returns:
      `(batch, n, m, channels)`.
    """
    rows, columns = ops.cast(rows, maps.dtype), ops.cast(columns, maps.dtype)
    batch, height, width, channels = ops.shape(maps)
    by_row = ops.matmul(rows, ops.reshape(maps, (batch, height, width * channels)))
    count = ops.shape(by_row)[1]
    by_row = ops.reshape(by_row, (batch, count, width, channels))
    return ops.matmul(columns if len(columns.shape) == 2 else columns[:, None], by_row)


def division_sums(maps, divisions: int, multiple: int = 1):
    """Sums maps over their divisions.

    Args:
      maps: `(batch, height, width, 1)`; height and width are multiples of `multiple`.
      divisions: K, how many there are along each side.
      multiple: their edges are multiples of it, cells.

    Returns:
      Sums `(batch, divisions, divisions)` and the numbers of cells `(divisions, divisions)` float32; on maps
      with fewer cells a side than divisions, some divisions have none.
    """
    matrices = []
    for length in ops.shape(maps)[1:3]:
        edges = multiple * division_edges(length // multiple, divisions)
        cells = ops.arange(length, dtype="int32")[None]
        inside = ops.logical_and(cells >= edges[:-1, None], cells < edges[1:, None])
        matrices.append(ops.cast(inside, "float32"))
    rows, columns = matrices
    sums = apply_separable(rows, ops.cast(maps, "float32"), columns)[..., 0]
    return sums, ops.sum(rows, -1)[:, None] * ops.sum(columns, -1)[None]


def choose_divisions(selected, scales, height, width) -> Divisions:
    """Lists the divisions that are looked at again.

    Args:
      selected: `(batch, divisions, divisions)` bool; divisions without cells are passed over.
      scales: `(batch, divisions, divisions)` float32, positive: the factor by which a division is enlarged.
      height: of the maps, cells.
      width: of the maps, cells.
    """
    divisions = selected.shape[1]
    row_edges, column_edges = division_edges(height, divisions), division_edges(width, divisions)
    rows, columns = row_edges[1:] - row_edges[:-1], column_edges[1:] - column_edges[:-1]
    present = ops.logical_and(rows[:, None] > 0, columns[None] > 0)
    image, row, column = (ops.cast(index, "int32") for index in ops.nonzero(ops.logical_and(selected, present[None])))
    factor = ops.take(ops.reshape(scales, (-1,)), (image * divisions + row) * divisions + column)

    def scaled(cells):
        cells = ops.cast(cells, "float32")
        size = ops.maximum(ops.round(ops.stop_gradient(factor) * cells), 1.0)
        # The ratio of whole sizes, with the gradient of the factor.
        return ops.cast(size, "int32"), factor + ops.stop_gradient(size / cells - factor)

    top, bottom = ops.take(row_edges, row), ops.take(row_edges, row + 1)
    left, right = ops.take(column_edges, column), ops.take(column_edges, column + 1)
    (scaled_height, scale_y), (scaled_width, scale_x) = scaled(bottom - top), scaled(right - left)
    return Divisions(image, row, column, top, bottom, left, right, scaled_height, scaled_width, scale_y, scale_x)


def _largest(sizes):
    """Returns the largest of some sizes, or 1 where there is none."""
    return ops.max(ops.concatenate([sizes, ops.ones((1,), "int32")]))


def read_scaled(maps, chosen: Divisions, margin: int):
    """Reads divisions of maps at their scale by bilinear interpolation, in one batch.

    All are as large as the largest; what lies beyond a division, on all sides, is what the map shows there, so that a
    convolution sees no border where there is none.

    Args:
      maps: `(batch, height, width, channels)`.
      chosen: which divisions.
      margin: scaled cells to read around each division.

    Returns:
      `(n, max(chosen.height) + 2 * margin, max(chosen.width) + 2 * margin, channels)` float32. Its gradient reaches
      `maps` and, through the positions of the cells, the scale factors.
    """
    batch, height, width, channels = ops.shape(maps)

    def axis(start, end, scale, size, length):
        """Returns the cells of the window around each division, and the matrix that reads the division from it."""
        cells = ops.arange(_largest(size) + 2 * margin, dtype="int32") - margin
        offset = (ops.cast(cells, "float32") + 0.5) / scale[:, None]
        # Positions count from the start of the window, where a division of the largest size and its margin fit.
        before = ops.cast(ops.ceil(margin / ops.stop_gradient(_smallest(scale))), "int32") + 1
        window = _largest(end - start) + 2 * before
        indices = start[:, None] - before + ops.arange(window, dtype="int32")[None]
        weights = interpolation_matrix(offset + ops.cast(before, "float32"), window)
        return ops.clip(indices, 0, length - 1), weights

    rows, row_weights = axis(chosen.top, chosen.bottom, chosen.scale_y, chosen.height, height)
    columns, column_weights = axis(chosen.left, chosen.right, chosen.scale_x, chosen.width, width)
    flat = (chosen.image[:, None, None] * height + rows[:, :, None]) * width + columns[:, None]
    windows = ops.take(ops.reshape(maps, (batch * height * width, channels)), flat, axis=0)
    return apply_separable(row_weights, ops.cast(windows, "float32"), column_weights)


def _smallest(scales):
    """Returns the smallest of some scale factors, or 1 where there is none."""
    return ops.min(ops.concatenate([scales, ops.ones((1,), "float32")]))


def inside_scaled(chosen: Divisions):
    """Returns which cells of the batch of scaled divisions belong to them: `(n, height, width, 1)` float32."""
    rows = ops.arange(_largest(chosen.height), dtype="int32")[None] < chosen.height[:, None]
    columns = ops.arange(_largest(chosen.width), dtype="int32")[None] < chosen.width[:, None]
    return ops.cast(ops.logical_and(rows[:, :, None], columns[:, None]), "float32")[..., None]


def _scaled_edges(start, end, size, count, multiple):
    """Returns where the first `count` scaled cells of divisions lie along one side of a map, `(n, count + 1)` cells."""
    start, end, size = (ops.cast(values, "float32") for values in (start, end, size))
    return multiple * (start[:, None] + ((end - start) / size)[:, None] * cell_range(count + 1))


def put_back(density, scaled, chosen: Divisions, multiple: int):
    """Replaces divisions of density maps by what was found at their scale, with the same number of people.

    Each scaled cell is shared out among the cells that it covers in the map, by area: people per cell stay people per
    cell. (In the paper's unit, density per area, this is "multiply by r^2".)

    Args:
      density: `(batch, height, width, 1)` float32, people per cell.
      scaled: `(n, h, w, 1)` float32, people per scaled cell, zero outside of the division.
      chosen: which divisions, on maps whose cells are `multiple` times as large.
      multiple: cells of `density` along one side of a cell of `chosen`.

    Returns:
      `(batch, height, width, 1)` float32; its gradient reaches both maps, not the scale factors.
    """
    batch, height, width, _ = ops.shape(density)

    def axis(start, end, size, count, length):
        cells = ops.arange(length, dtype="int32")[None]
        inside = ops.logical_and(cells >= multiple * start[:, None], cells < multiple * end[:, None])
        # Cells of the batch beyond the division are zero, wherever they would fall.
        scaled_edges = _scaled_edges(start, end, size, count, multiple)
        return overlap_matrix(cell_range(length + 1), scaled_edges), ops.cast(inside, "float32")

    scaled_height, scaled_width = ops.shape(scaled)[1:3]
    rows, row_inside = axis(chosen.top, chosen.bottom, chosen.height, scaled_height, height)
    columns, column_inside = axis(chosen.left, chosen.right, chosen.width, scaled_width, width)
    returned = apply_separable(rows, scaled, columns)
    covered = (row_inside[:, :, None] * column_inside[:, None])[..., None]
    # Divisions do not overlap.
    return density * (1.0 - _add_up(covered, chosen.image, batch)) + _add_up(returned, chosen.image, batch)


def share_out(density, chosen: Divisions, multiple: int):
    """Enlarges divisions of density maps to their scale with the same number of people.

    The reverse of `put_back`: each cell is shared out among the scaled cells that it covers, by area.

    Args:
      density: `(batch, height, width, 1)` float32, people per cell.
      chosen: which divisions, on maps whose cells are `multiple` times as large.
      multiple: cells of `density` along one side of a cell of `chosen`.

    Returns:
      `(n, max(chosen.height), max(chosen.width), 1)` float32, people per scaled cell, zero outside of the division.
    """
    height, width = ops.shape(density)[1:3]

    def axis(start, end, size, length):
        scaled_edges = _scaled_edges(start, end, size, _largest(size), multiple)
        return overlap_matrix(scaled_edges, cell_range(length + 1))

    rows = axis(chosen.top, chosen.bottom, chosen.height, height)
    columns = axis(chosen.left, chosen.right, chosen.width, width)
    scaled = apply_separable(rows, ops.take(density, chosen.image, axis=0), columns)
    return scaled * inside_scaled(chosen)


def _add_up(maps, image, batch):
    """Adds up the maps of each image, `(n, height, width, 1)` -> `(batch, height, width, 1)`."""
    owner = ops.cast(image[None] == ops.arange(batch, dtype="int32")[:, None], "float32")
    _, height, width, channels = ops.shape(maps)
    added = ops.matmul(owner, ops.reshape(maps, (-1, height * width * channels)))
    return ops.reshape(added, (batch, height, width, channels))
