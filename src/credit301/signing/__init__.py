"""Messages between the platform and banks: signed (RFC 9421), accepted once, sealed where a bank asks, mutual TLS."""
