"""The audit trail: who read what of whom for which application, each record holding the hash of the one before."""
