# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bitwarden in miniature: clouds and self-hosted servers for tests, on one machine."""
