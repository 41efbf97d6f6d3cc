# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which product a plan type belongs to."""

from __future__ import annotations

FREE, FAMILIES, TEAMS, ENTERPRISE, TEAMS_STARTER = range(5)
PLAN_TYPES = {
    FREE: (0,),
    FAMILIES: (1, 7, 22),
    TEAMS: (2, 3, 8, 9, 12, 13, 17, 18),
    ENTERPRISE: (4, 5, 6, 10, 11, 14, 15, 19, 20),
    TEAMS_STARTER: (16, 21),
}
TIERS = {plan_type: tier for tier, plan_types in PLAN_TYPES.items() for plan_type in plan_types}


def product_tier(plan_type: int) -> int:
    return TIERS[plan_type]
