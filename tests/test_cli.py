"""The command line as a whole, and `trunkline doctor`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trunkline
from tests.cli_process import trunkline as run_trunkline
from trunkline.cli import COMMANDS, doctor, main
from trunkline.engine import codec


def test_help_names_every_command() -> None:
    done = run_trunkline("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_the_installed_script_is_the_same_command() -> None:
    script = Path(sys.executable).parent / "trunkline"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"trunkline {trunkline.__version__}\n"


def test_without_a_command_the_help_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "commands:" in captured.err


def test_an_unknown_command_is_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve"])
    assert caught.value.code == 2
    assert "'run'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = run_trunkline(name, "--help")
    assert done.returncode == 0
    assert f"trunkline {name}" in done.stdout


def test_ctrl_c_ends_a_command_as_a_shell_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "main", interrupted)
    assert main(["doctor"]) == 130


def test_doctor_finds_this_environment_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["ok", "trunkline", trunkline.__version__] for line in lines)
    assert not any(line.startswith("BAD") for line in lines)


@pytest.mark.parametrize(
    ("value", "code", "text"), [("1", 0, "1 worker process\n"), ("4", 0, "4 worker processes\n"), ("many", 1, "'many'")]
)
def test_doctor_reads_the_number_of_workers(
    value: str, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", value)
    assert main(["doctor"]) == code
    assert text in capsys.readouterr().out


def test_doctor_tells_which_codec_is_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(codec, "NATIVE", True)
    assert main(["doctor"]) == 0
    assert re.search("^ok +codec +native$", capsys.readouterr().out, re.MULTILINE)
    monkeypatch.setattr(codec, "NATIVE", False)
    for variable, why in (("", ": the native one was not built"), ("pure", ", because TRUNKLINE_CODEC says so")):
        monkeypatch.setenv("TRUNKLINE_CODEC", variable)
        assert main(["doctor"]) == 0
        assert re.search(f"^note +codec +pure Python, slower{why}", capsys.readouterr().out, re.MULTILINE)


def test_doctor_tells_what_is_missing_and_what_that_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("websockets", "uvloop"):
        monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say: this cannot be imported
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("BAD") and "websockets" in line and "pip install" in line for line in lines)
    assert any(line.startswith("note") and "uvloop" in line for line in lines)


def test_doctor_names_a_package_that_is_there_without_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unpackaged.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "REQUIRED", ("unpackaged",))
    assert main(["doctor"]) == 0
    assert "its version is unknown" in capsys.readouterr().out


def test_doctor_refuses_an_old_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    assert main(["doctor"]) == 1
    assert "expected 3.11 or newer" in capsys.readouterr().out
