"""The fault matrix: what can go wrong on a server's host, done to a server of the lab, one fault after the other."""
