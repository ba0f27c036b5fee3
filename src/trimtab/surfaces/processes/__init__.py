"""The processes of `trimtab serve`: supervisor, gateway child, engine children, and what they say to each other."""

from trimtab.surfaces.processes.channel import (
    Broken,
    Drain,
    Drained,
    End,
    Engines,
    EngineSpec,
    EngineStatus,
    GatewayControl,
    Ready,
    SpeculationSpec,
    StartEngine,
    StopEngine,
)
from trimtab.surfaces.processes.cores import share_of_cores, usable_cores
from trimtab.surfaces.processes.model import ModelMissingError, bundled_model, fetch_model, model_file
from trimtab.surfaces.processes.supervisor import PortTakenError, Supervisor, listen, listen_together

__all__ = [
    "Broken",
    "Drain",
    "Drained",
    "End",
    "EngineSpec",
    "EngineStatus",
    "Engines",
    "GatewayControl",
    "ModelMissingError",
    "PortTakenError",
    "Ready",
    "SpeculationSpec",
    "StartEngine",
    "StopEngine",
    "Supervisor",
    "bundled_model",
    "fetch_model",
    "listen",
    "listen_together",
    "model_file",
    "share_of_cores",
    "usable_cores",
]
