"""Credit301: an open data and decision platform for lending to small enterprises."""
