# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab on a real Docker engine: managed hosts are systemd containers that have an engine of their own."""
