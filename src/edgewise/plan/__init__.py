"""What is decided automatically from the data and the machine, with the reason for each decision."""

from edgewise.plan.records import Machine as Machine
from edgewise.plan.records import Plan as Plan
from edgewise.plan.records import PlanSettings as PlanSettings
from edgewise.plan.rules import make as make
