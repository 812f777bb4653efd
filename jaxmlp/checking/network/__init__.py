"""Our own networks, of which every line of the derivation is known."""
