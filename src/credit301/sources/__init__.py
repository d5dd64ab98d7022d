"""The way in: connectors, inbox, landing, quarantine, watermarks."""
