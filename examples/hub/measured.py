"""A hub that Prometheus asks. Run it with `trunkline run measured:app`."""

# region: metrics
from trunkline import App, Hub
from trunkline.hub.metrics import metrics_app

hub = Hub()
app = App()
app.mount("/metrics", metrics_app(hub))
# endregion
