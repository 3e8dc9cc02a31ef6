"""What pyproject.toml cannot say: what is compiled, which may fail, and a wheel's copy of examples/chat."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
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


def native(name: str, source: str) -> Extension:
    """A module of the engine that is compiled where there is a compiler; without one the installation succeeds."""
    return Extension(
        f"trunkline.engine.{name}",
        [f"src/trunkline/engine/{source}"],
        extra_compile_args=["/O2"] if sys.platform == "win32" else ["-O3"],
    )


# The types of _channel.py are those of its .pxd; what its annotations say is for readers and mypy.
modules = cythonize(
    [native("_codec", "_codec.pyx"), native("_send", "_send.pyx"), native("_channel_native", "_channel.py")],
    compiler_directives={"annotation_typing": False, "binding": False, "language_level": 3},
)
for module in modules:
    module.optional = True

setup(cmdclass={"build_py": BuildWithDemo}, ext_modules=modules)
