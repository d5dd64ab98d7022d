"""Derivations: from one contract, everything that the rest of the platform needs to know about a source.

Each module is one target, and each function is pure: contracts in, text or plain data out.
"""

HEADER = "Derived from the contracts of the workspace; edit those, this is written anew at each build."
