"""The managed host of a lab server: bitwarden.sh, its Setup program, and the docker command that they drive."""
