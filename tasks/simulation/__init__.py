"""The simulated trial: raw files as such a trial delivers them, drawn from a study folder's assumptions."""

from tasks.simulation.assumptions import Assumptions, read_assumptions
from tasks.simulation.delivery import Summary, simulate
from tasks.simulation.frames import SimulatedFrames, simulated_frames

__all__ = ["Assumptions", "SimulatedFrames", "Summary", "read_assumptions", "simulate", "simulated_frames"]
