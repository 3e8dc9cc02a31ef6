"""What pyproject.toml cannot say: the native codec, which may fail to build, and a wheel's copy of examples/chat."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py


class BuildWithDemo(build_py):
    """The build step for Python files, and then the example."""

    def run(self) -> None:
        """Copy the example beside the built package; an editable install finds it where it is."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "trunkline", "_demo")
            shutil.copytree("examples/chat", target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


# Without a compiler the installation succeeds, and trunkline.engine.codec takes the codec in pure Python.
NATIVE_CODEC = Extension(
    "trunkline.engine._codec",
    ["src/trunkline/engine/_codec.pyx"],
    extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3"],
    optional=True,
)

setup(cmdclass={"build_py": BuildWithDemo}, ext_modules=[NATIVE_CODEC])
