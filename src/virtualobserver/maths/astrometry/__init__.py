"""Where things are on the sky: plates, quadruples of stars, TAN-SIP, positions, proper motion. Opens no catalogue."""
