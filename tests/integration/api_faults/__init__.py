"""The fault matrix of the API's side: what can go wrong at the cloud, at a server, and on the way to either."""
