"""All scenarios, by number."""

import power
import scenarios_code
import scenarios_crashes
import scenarios_death
import scenarios_deploys
import scenarios_flow
import scenarios_messages
import scenarios_network
import scenarios_producers
import scenarios_redis
import scenarios_signals
import scenarios_sqlite
import scenarios_storm
import scenarios_time
import scenarios_web
from scenario import CATALOGUE

__all__ = [
    "CATALOGUE",
    "power",
    "scenarios_code",
    "scenarios_crashes",
    "scenarios_death",
    "scenarios_deploys",
    "scenarios_flow",
    "scenarios_messages",
    "scenarios_network",
    "scenarios_producers",
    "scenarios_redis",
    "scenarios_signals",
    "scenarios_sqlite",
    "scenarios_storm",
    "scenarios_time",
    "scenarios_web",
]
