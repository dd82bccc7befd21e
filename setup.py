"""Names the packages, which `setup.cfg` cannot: those that are found, and the flagfiles, which lie beside them.

A wheel holds `configs/` as the package `tfcount.configs`, so that `--flagfile=configs/...` works outside of a clone.
"""

import setuptools

setuptools.setup(
    packages=[*setuptools.find_packages(include=["tfcount*", "tfrecords_tools*"]), "tfcount.configs"],
    package_dir={"tfcount.configs": "configs"},
)
