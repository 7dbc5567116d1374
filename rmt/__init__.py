"""Predict the singular value spectrum of a network's Jacobian from its initialization."""

from rmt.agreement import Agreement, compare
from rmt.laws.errors import ConvergenceError
from rmt.laws.named.bernoulli import Bernoulli, PointMass
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.fuss_catalan import FussCatalan
from rmt.laws.named.marchenko_pastur import MarchenkoPastur
from rmt.laws.views import Spectrum
from rmt.networks import activations, schemes
from rmt.networks.layers import Activation, Dense, UnsupportedStructure
from rmt.networks.network import Network, mlp
from rmt.networks.predict import Prediction, predict

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Agreement",
    "Bernoulli",
    "ConvergenceError",
    "Dense",
    "Discrete",
    "FussCatalan",
    "MarchenkoPastur",
    "Network",
    "PointMass",
    "Prediction",
    "Spectrum",
    "UnsupportedStructure",
    "activations",
    "compare",
    "mlp",
    "predict",
    "schemes",
]
