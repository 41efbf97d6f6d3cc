# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A world for firewalls: hosts with the real ones, an internet of the tests' own, and names that move."""
