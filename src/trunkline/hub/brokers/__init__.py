"""Brokers: what carries publications to every process that has members, and keeps the past."""

from __future__ import annotations

from trunkline.hub.brokers.base import Broker, Entry, History, Receiver
from trunkline.hub.brokers.memory import MemoryBroker, MemoryServer

__all__ = ["Broker", "Entry", "History", "MemoryBroker", "MemoryServer", "Receiver"]
