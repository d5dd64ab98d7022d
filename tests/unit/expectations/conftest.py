from tests.unit.sources.conftest import exchange, store, tiny_workspace

__all__ = ["exchange", "store", "tiny_workspace"]
