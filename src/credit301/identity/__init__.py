"""Who is who: codes of enterprises and the keys of other entities."""
