"""What a wheel holds, and that flagfiles are found where there is no clone."""

import importlib.util
import os
import pathlib
import shutil

import pytest
import setuptools

from tfcount import commands, flagfiles, flags

ROOT = pathlib.Path(__file__).parent.parent
FLAGFILES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.flags"))


@pytest.fixture(scope="module")
def built():
    """Where the files of a wheel come from, by their paths inside of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        build = setuptools.distutils.core.run_setup("setup.py", stop_after="config").get_command_obj("build_py")
        build.ensure_finalized()
        files = {}
        for _, source, target, names in build.data_files:
            files |= {
                os.path.relpath(os.path.join(target, name), build.build_lib): os.path.join(source, name)
                for name in names
            }
        for package, module, path in build.find_all_modules():
            files[os.path.join(*package.split("."), f"{module}.py")] = path
    return files


def test_a_wheel_holds_all_packages_and_flagfiles(built):
    modules = [path for folder in ("tfcount", "tfrecords_tools") for path in ROOT.glob(f"{folder}/**/*.py")]
    expected = {str(path.relative_to(ROOT)): str(path.relative_to(ROOT)) for path in modules}
    expected |= {path: path for path in ("tfcount/flags.json", "tfcount/py.typed")}
    expected |= {f"tfcount/{path}": path for path in FLAGFILES}
    assert built.items() >= expected.items() and len(FLAGFILES) >= 40


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, and the flagfiles where a wheel has them."""
    package = tmp_path / "site-packages" / "tfcount"
    shutil.copytree(ROOT / "configs", package / "configs")
    shutil.copy(ROOT / "tfcount" / "flagfiles.py", package)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    spec = importlib.util.spec_from_file_location("installed_flagfiles", package / "flagfiles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(flagfiles, "ROOT", module.ROOT)
    return module


class TestElsewhere:
    def test_flagfiles_are_found(self, elsewhere, monkeypatch):
        """Those that they read, too."""
        assert str(ROOT) != elsewhere.ROOT and elsewhere.flagfiles() == FLAGFILES
        found = {path: flags.from_file(path) for path in FLAGFILES}
        monkeypatch.chdir(ROOT)
        assert found == {path: flags.from_file(path) for path in FLAGFILES}

    def test_those_of_the_working_directory_come_first(self, elsewhere):
        assert flags.from_file("configs/csrnet_sha.flags").data.dir == "data/sha"
        os.makedirs("configs/datasets")
        pathlib.Path("configs/datasets/sha.flags").write_text("--data_dir=data/mine")
        assert flags.from_file("configs/csrnet_sha.flags").data.dir == "data/mine"

    def test_a_missing_one_names_those_that_there_are(self, elsewhere):
        pathlib.Path("mine.flags").write_text("--flagfile=configs/studies/scale/spn.flags")
        with pytest.raises(FileNotFoundError, match="no flagfile 'configs/studies/scale/spn.flags'.*scale/spn_sha"):
            flags.from_file("mine.flags")
        with pytest.raises(FileNotFoundError, match="no flagfile 'l2sm.flags', .* with tfcount: .*configs/l2sm_sha"):
            elsewhere.find_flagfile("l2sm.flags")


def test_help_names_the_flagfiles(capsys):
    with pytest.raises(SystemExit):
        commands.run("train", ["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert ", ".join(FLAGFILES) in printed
    with pytest.raises(SystemExit):
        commands.run("evaluate", ["--help"])
    assert "configs/" not in capsys.readouterr().out
