"""A shop: commands in, a saga over three services, events out, and two views of them. ``python -m examples.orders``."""
