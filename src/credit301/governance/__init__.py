"""Governance: consent, masking, access by role, the audit trail, retention and erasure, lineage."""
