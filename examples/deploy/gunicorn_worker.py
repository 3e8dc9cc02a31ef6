"""A gunicorn worker with our engine: `gunicorn -k gunicorn_worker.EngineWorker -w 4 hello:app`."""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class EngineWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        **UvicornWorker.CONFIG_KWARGS,
        "http": "trunkline.engine:HTTPProtocol",
        "ws": "trunkline.engine:WebSocketProtocol",
    }
