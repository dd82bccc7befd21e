"""The published MCNN on the real test images: the check that reading, scaling and metrics are right."""

import os

import cv2
import h5py
import numpy as np
import pytest

from tfcount.inference import CountingModel
from tfcount.metrics import counting
from tfcount.models import build_counter
from tfrecords_tools.annotations import shanghaitech


def load_reference(path):
    """Puts the public weights (kernels output x input x rows x columns) into our MCNN."""
    counter = build_counter("mcnn")
    with h5py.File(path) as file:

        def weights(key):
            kernel = np.transpose(file[f"{key}.weight"][()], (2, 3, 1, 0))
            return [kernel, file[f"{key}.bias"][()]]

        for column in (1, 2, 3):
            for index, number in enumerate((0, 2, 4, 5)):
                counter.encoder.get_layer(f"column{column}_{index}").set_weights(
                    weights(f"DME.branch{column}.{number}.conv")
                )
        counter.head.get_layer("fuse").set_weights(weights("DME.fuse.0.conv"))
    return counter


def test_published_mcnn(real_data):
    """MAE 110.0 +- 0.5, RMSE 169.2 +- 0.7 on the 182 images, sides reduced to multiples of 4."""
    path = os.path.join(real_data, "reference", "mcnn", "mcnn_shtechA_660.h5")
    counter = load_reference(path)
    model = CountingModel.of_counter(counter)
    truth, predicted = [], []
    for source in shanghaitech.read(os.path.join(real_data, "data", "shanghaitech"), part="A")["test"]:
        record = source.load().image
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        height, width = record.height // 4 * 4, record.width // 4 * 4
        predicted.append(model.count(cv2.resize(image, (width, height))))
        truth.append(len(record.points))
    truth, predicted = np.array(truth), np.array(predicted)
    assert len(truth) == 182
    assert counting.mae(truth, predicted) == pytest.approx(110.0, abs=0.5)
    assert counting.rmse(truth, predicted) == pytest.approx(169.2, abs=0.7)
