"""The two codecs: a test with the fixture `codec` runs on both. A certificate, and what is said in the log."""

from __future__ import annotations

import importlib
import logging
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.memory import Records
from tests.support import unavailable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def native() -> Any:
    """The native codec; only where nothing could have built it are its tests skipped, and never in CI."""
    try:
        return importlib.import_module("trunkline.engine._codec")
    except ImportError as error:
        if any(shutil.which(compiler) for compiler in ("cc", "gcc", "clang")):
            pytest.fail(f"there is a C compiler, but the native codec does not load: {error}")
        unavailable("no C compiler, so no native codec")


@pytest.fixture(scope="session", params=["native", "pure"])
def codec(request: pytest.FixtureRequest) -> Any:
    """The native codec, then the one in pure Python."""
    if request.param == "native":
        return request.getfixturevalue("native")
    return importlib.import_module("trunkline.engine._codec_pure")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it (`.key`)."""
    openssl = shutil.which("openssl")
    if openssl is None:
        unavailable("openssl is not there, which makes a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key"]
    subprocess.run([openssl, "req", "-x509", "-days", "2", *name, *key, "-out", path], check=True, capture_output=True)
    return path


@pytest.fixture
def log() -> Any:
    """What uvicorn's log is told."""
    handler = Records()
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)
