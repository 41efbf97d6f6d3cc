# Nothing on this host closes anything: what its network does is somebody else's.
:
