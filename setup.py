"""What pyproject.toml cannot say: a wheel carries a copy of examples/chat, for `trunkline demo`."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithDemo(build_py):
    """The build step for Python files, and then the example."""

    def run(self) -> None:
        """Copy the example beside the built package; an editable install finds it where it is."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "trunkline", "_demo")
            shutil.copytree("examples/chat", target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithDemo})
