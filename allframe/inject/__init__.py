"""`Inject`, and where injected objects come from: one look-up for whoever needs them."""

from allframe.inject.annotation import Inject, injected_type, type_name
from allframe.inject.container import AsyncContainer, Container
from allframe.inject.provider import Provider
from allframe.inject.scope import Scope

__all__ = ["AsyncContainer", "Container", "Inject", "Provider", "Scope", "injected_type", "type_name"]
