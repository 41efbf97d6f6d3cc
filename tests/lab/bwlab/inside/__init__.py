# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs inside the containers of a lab on a real Docker engine: `python3 -m bwlab.inside SERVICE`."""
