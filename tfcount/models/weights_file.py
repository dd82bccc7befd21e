"""Files of weights may come from anywhere: they hold numbers, and lead to no other file."""

import h5py


def check_weights_file(path: str) -> None:
    """Checks that an HDF5 file holds everything that it names itself.

    HDF5 can put parts of other files in the place of a group or of the numbers of a dataset: links, virtual datasets
    and external storage. No file of weights has them, and whoever reads one expects no other file to be opened.

    Args:
      path: of the file.

    Raises:
      ValueError: if it is no HDF5 file, or leads to other files.
    """
    try:
        with h5py.File(path, "r") as file:
            found = _leading_elsewhere(file, set())
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}") from error
    if found:
        raise ValueError(f"{path} holds {found}, which files of weights do not have: get it from where it was made.")


def _leading_elsewhere(group, seen):
    """Returns what of a group leads elsewhere, or None."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            return f"the link {name!r}"
        value = group[name]
        address = h5py.h5o.get_info(value.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(value, h5py.Dataset) and (value.is_virtual or value.external):
            return f"the dataset {value.name!r} with numbers of other files"
        if isinstance(value, h5py.Group):
            found = _leading_elsewhere(value, seen)
            if found:
                return found
    return None
