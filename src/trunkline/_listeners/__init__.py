"""Endpoints that are called for each message, and those that send what they yield.

The route that is made of one (`trunkline.routing.ListenerRoute`, `StreamRoute`) accepts the connection, fills the
parameters, decodes, encodes and ends it. A listener has one of two forms (`_forms.py`), a function or a class, and its
messages go one of two ways: through a loop (`_loop.py`), on every server; or, where a plain function needs nothing but
its message and our engine is beneath, straight from the read (`_direct.py`).
"""
