"""Every file of a run, damaged in every way: an error that names it, or the same result, never another one."""

import os
import pathlib
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tests.running import small_config
from tfcount import assembly, checkpoints, runs
from tfcount.inference import Calibration
from tfcount.models import build_counter
from tfcount.records import checksums
from tfcount.records.files import write_json
from tfcount.records.folder import Records
from tfcount.runs import Run
from tfcount.serving import savedmodel

FILES = ["run.flags", "run.json", "labels.json", "train.log", "best.weights.h5", "best.calibration.json"]
FILES += ["last.weights.h5", "last.calibration.json"]
FILES += [f"checkpoints/ckpt-{step}.{end}" for step in (4, 6) for end in ("index", "data-00000-of-00001", "json")]


def flipped(seed):
    """Returns a damage that changes a few bits."""

    def change(content, other):
        rng, content = np.random.default_rng(seed), bytearray(content)
        for place in rng.integers(0, len(content), 1 + seed % 3):
            content[place] ^= 1 << int(rng.integers(8))
        return bytes(content)

    return change


DAMAGES = {
    "truncated": lambda content, other: content[: len(content) // 2],
    "without its end": lambda content, other: content[:-1],
    "emptied": lambda content, other: b"",
    "of another run": lambda content, other: other,
    "removed": lambda content, other: None,
    "bytes": lambda content, other: bytes(range(256)),
    **{f"flipped {seed}": flipped(seed) for seed in range(3)},
}


@pytest.fixture(scope="module")
def method(run, crowds):
    """The method of the run, and the checkpoint that training makes of it."""
    method = assembly.assemble(small_config(crowds))
    return method, tf.train.Checkpoint(method=method, optimizer=method.optimizer)


@pytest.fixture(scope="module")
def other(run, crowds, method, tmp_path_factory):
    """Another run of the same records and counter, with files of all the same names."""
    folder = str(tmp_path_factory.mktemp("runs") / "other")
    shutil.copytree(run, folder)
    kept, counter = Run(folder), build_counter("mcnn")
    kept.write_start(small_config(crowds, steps=8), {"images": 0}, Run(run).notes() | {"seed": 7})
    for name in (runs.BEST, runs.LAST):
        kept.save_weights(name, counter, Calibration(threshold=0.5))
    before = [variable.numpy() for variable in method[0].variables]
    for step in (4, 6):
        for variable in method[0].trainable_variables:
            variable.assign(variable + 1)
        kept.save_checkpoint(method[1], step)
    for variable, value in zip(method[0].variables, before, strict=True):
        variable.assign(value)
    return folder


@pytest.fixture
def one_counter(monkeypatch):
    """Networks are built once."""
    counters, build = {}, assembly.build_counter

    def build_once(config, weights=None):
        if config.counter not in counters:
            counters[config.counter] = build(config, weights)
        return counters[config.counter]

    monkeypatch.setattr(assembly, "build_counter", build_once)


def loaded(run):
    """What `tfcount.load` counts by."""
    counter, calibration = run.load_counter()
    return [weight.copy() for weight in counter.get_weights()], calibration


def evaluated(run):
    """What an evaluation reads besides."""
    notes = run.notes()
    return Records.open(run.config().data.dir, "test").rows, notes


def resumed(run, crowds, method):
    """What a run that goes on begins with; the steps since an older checkpoint are taken again."""
    config = small_config(crowds)
    training, _ = Records.open(crowds, "train").hold_out(config.data.validation_fraction, config.seed)
    run.check_same(config, training.fingerprint())
    checkpoints.restore(method[1], run.checkpoints())
    values = [variable.numpy() for variable in [*method[0].variables, *method[1].optimizer.variables]]
    return run.notes(), method[0].steps, values


def equal(one, other):
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(equal, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@pytest.mark.parametrize("name", FILES)
def test_damaged(name, run, other, crowds, method, one_counter, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    path, kept = folder / name, Run(str(folder))
    content = path.read_bytes()
    actions = [loaded, evaluated, lambda run: resumed(run, crowds, method)]
    expected = [action(kept) for action in actions]
    (folder / "checkpoints" / "ckpt-6.index").rename(tmp_path / "aside")
    older = resumed(kept, crowds, method)
    (tmp_path / "aside").rename(folder / "checkpoints" / "ckpt-6.index")
    refused = 0
    for damage, change in DAMAGES.items():
        changed = change(content, (pathlib.Path(other) / name).read_bytes())
        if changed is None:
            path.unlink()
        else:
            path.write_bytes(changed)
        capsys.readouterr()
        for action, result in zip(actions, expected, strict=True):
            where = f"{name} {damage}, {getattr(action, '__name__', '')}"
            try:
                found = action(kept)
            except (ValueError, OSError) as error:
                assert os.path.basename(name) in str(error), f"{where}: {error}"
                refused += 1
            else:
                taken_again = name.startswith("checkpoints/ckpt-6") and equal(found, older)
                assert equal(found, result) or taken_again, where
                if taken_again and damage != "removed":
                    assert "ckpt-6 is damaged" in capsys.readouterr().err, where
        path.write_bytes(content)
    # The best weights are there, and those of the checkpoint.
    passed_over = name.startswith(("checkpoints/", "last.")) or name in ("labels.json", "train.log")
    assert bool(refused) != passed_over


def test_weights_that_are_not_finite(run, tmp_path):
    """They gave counts that looked like any; the checksum is that of the file."""
    folder = str(shutil.copytree(run, tmp_path / "run"))
    counter, calibration = Run(folder).load_counter()
    layer = next(layer for layer in counter.layers if layer.weights)
    for value in (np.nan, np.inf):
        for variable in layer.weights[:1]:
            variable.assign(np.full(variable.shape, value))
        Run(folder).save_weights(runs.BEST, counter, calibration)
        with pytest.raises(ValueError, match="best.weights.h5 holds weights that are not finite"):
            Run(folder).load_counter()
        with pytest.raises(ValueError, match="The counter 'mcnn' holds weights that are not finite"):
            savedmodel.export(counter, str(tmp_path / "exported"))
    assert not (tmp_path / "exported").exists()


def test_runs_of_before_have_no_checksums(run, crowds, method, tmp_path):
    folder = str(shutil.copytree(run, tmp_path / "run"))
    expected = loaded(Run(folder))
    for name in ("run.json", "labels.json", "best.calibration.json", "last.calibration.json"):
        content = checksums.read_sealed(os.path.join(folder, name), "")
        later = ("weights_sha256", "network", "flags_sha256")
        write_json(os.path.join(folder, name), {key: content[key] for key in content if key not in later})
    for step in (4, 6):
        os.remove(os.path.join(folder, "checkpoints", f"ckpt-{step}.json"))
    assert equal(loaded(Run(folder)), expected)
    assert resumed(Run(folder), crowds, method)[1] == 6


NOTES = {
    "missing": None,
    "empty": "",
    "a list": "[]",
    "null": "null",
    "other types": '{"format": 2, "records": 1, "training_minutes": "x", "steps": [], "validation": {}}',
    "missing keys": '{"format": 2}',
    "entries of other types": '{"format": 2, "records": "", "training_minutes": 1, "steps": 1, "validation": [1]}',
    "huge integers": f'{{"format": 2, "records": "", "training_minutes": 1, "steps": {10**400}, "validation": []}}',
    "integers too long to read": f'{{"format": {"1" * 5000}}}',
    "deep nesting": "[" * 100_000,
    "another format": '{"format": {}}',
}


@pytest.mark.parametrize("kind", NOTES)
def test_notes_that_are_none(kind, run, crowds, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(os.path.join(run, "run.flags"), folder)
    if NOTES[kind] is not None:
        (folder / "run.json").write_text(NOTES[kind])
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        Run(str(folder)).notes()
    message = str(error.value)
    assert "made by another version of tfcount" in message if kind == "another format" else "run.json" in message
    assert len(message) < 500 and "\n" not in message


def test_flags_of_a_run_that_are_none(tmp_path):
    for content, message in (
        (b"", "run.flags is empty. Restore it from a copy, or train again"),
        (b"\xff\xfe", "run.flags' is not encoded as UTF-8"),
        (b"--counter=mcnn\nnonsense\n", "run.flags, line 2: 'nonsense' is no flag"),
        (b"--counter=mcnn\n--nonsense=1\n", "run.flags, line 2: Unknown command line flag 'nonsense'"),
        (b"--counter=none\n", "run.flags: --counter must be one of"),
        (b"--train_steps=x\n", "run.flags: flag --train_steps=x"),
    ):
        (tmp_path / "run.flags").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            Run(str(tmp_path)).config()


class TestRunsRunNoCode:
    """Weights and flags are numbers and names, whoever made them: they execute nothing, and lead nowhere else."""

    def test_flags_name_no_other_files(self, tmp_path):
        (tmp_path / "elsewhere.flags").write_text("--counter=mcnn\n")
        for line in (f"--flagfile={tmp_path}/elsewhere.flags", "--flagfile=/etc/passwd", "--undefok=x", "--help"):
            (tmp_path / "run.flags").write_text(f"--counter=mcnn\n{line}\n")
            with pytest.raises(ValueError, match="run.flags, line 2: Unknown command line flag"):
                tfcount.load(tmp_path)

    @pytest.mark.parametrize("kind", ["external link", "soft link", "virtual dataset", "external storage"])
    def test_weights_lead_to_no_other_files(self, kind, run, tmp_path):
        folder = str(shutil.copytree(run, tmp_path / "run"))
        path = os.path.join(folder, "best.weights.h5")
        with h5py.File(path, "r+") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            value = file[names[0]][()]
            del file[names[0]]
            secret = tmp_path / "secret.h5"
            with h5py.File(secret, "w") as elsewhere:
                elsewhere["values"] = value
            if kind == "external link":
                file[names[0]] = h5py.ExternalLink(str(secret), "values")
            elif kind == "soft link":
                file["copy"] = value
                file[names[0]] = h5py.SoftLink("/copy")
            elif kind == "virtual dataset":
                layout = h5py.VirtualLayout(value.shape, value.dtype)
                layout[...] = h5py.VirtualSource(str(secret), "values", value.shape)
                file.create_virtual_dataset(names[0], layout)
            else:
                external = [(str(tmp_path / "secret.bin"), 0, value.nbytes)]
                (tmp_path / "secret.bin").write_bytes(value.tobytes())
                file.create_dataset(names[0], value.shape, value.dtype, external=external)
        # As if the run had been made so: with a checksum that fits.
        calibrated = os.path.join(folder, "best.calibration.json")
        content = checksums.read_sealed(calibrated, "")
        checksums.write_sealed(calibrated, content | {"weights_sha256": checksums.sha256(path)})
        with pytest.raises(ValueError, match=r"best.weights.h5 .* holds the (link|dataset) .* files of weights do not"):
            tfcount.load(folder)

    def test_other_files_under_the_name_of_weights(self, run, tmp_path):
        """A pickle, an archive with a layer of code, a program: none is opened as what it is."""
        marker = tmp_path / "executed"
        program = f"import os\nos.mkdir({str(marker)!r})\n".encode()
        pickled = b"cos\nmkdir\n(V" + str(marker).encode() + b"\ntR."
        model = tmp_path / "model.keras"
        keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)]).save(model)
        for name, content in (("pickle", pickled), ("program", program), ("archive", model.read_bytes())):
            folder = shutil.copytree(run, tmp_path / name)
            for weights in ("best", "last"):
                (folder / f"{weights}.weights.h5").write_bytes(content)
                os.remove(folder / f"{weights}.calibration.json")
                Calibration().write(str(folder / f"{weights}.calibration.json"))
            with pytest.raises(ValueError, match=r"does not hold the weights of counter 'mcnn': .* no.* HDF5 file"):
                tfcount.load(folder)
        assert not marker.exists()
        with pytest.raises(ValueError, match="it is no .weights.h5 file"):
            assembly.load_weights(build_counter("compact"), str(model))
