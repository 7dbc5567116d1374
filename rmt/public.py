"""The public names of `rmt`, each from its home; loaded when the first of them is asked for."""

from fractions import Fraction as Fraction  # in which laws have numbers that are no floats, and write them

from rmt.agreement import Agreement as Agreement
from rmt.agreement import compare as compare
from rmt.finite.tracy_widom import TracyWidom as TracyWidom
from rmt.laws.errors import ConvergenceError as ConvergenceError
from rmt.laws.named.bernoulli import Bernoulli as Bernoulli
from rmt.laws.named.discrete import Discrete as Discrete
from rmt.laws.named.empirical import Empirical as Empirical
from rmt.laws.named.fuss_catalan import FussCatalan as FussCatalan
from rmt.laws.named.marchenko_pastur import MarchenkoPastur as MarchenkoPastur
from rmt.laws.named.multiplicative_brownian import MultiplicativeBrownian as MultiplicativeBrownian
from rmt.laws.named.point_mass import PointMass as PointMass
from rmt.laws.named.semicircle import Semicircle as Semicircle
from rmt.laws.views import Spectrum as Spectrum
from rmt.networks import activations as activations
from rmt.networks import batchnorm as batchnorm
from rmt.networks import meanfield as meanfield
from rmt.networks import schemes as schemes
from rmt.networks.convolution import AvgPool2d as AvgPool2d
from rmt.networks.convolution import Conv2d as Conv2d
from rmt.networks.layers import Activation as Activation
from rmt.networks.layers import Dense as Dense
from rmt.networks.layers import Dropout as Dropout
from rmt.networks.layers import Flatten as Flatten
from rmt.networks.layers import Scale as Scale
from rmt.networks.layers import UnsupportedStructure as UnsupportedStructure
from rmt.networks.network import Network as Network
from rmt.networks.network import mlp as mlp
from rmt.networks.normalization import BatchNorm as BatchNorm
from rmt.networks.normalization import LayerNorm as LayerNorm
from rmt.networks.normalization import RMSNorm as RMSNorm
from rmt.networks.predict import Prediction as Prediction
from rmt.networks.predict import predict as predict
from rmt.networks.residual import Residual as Residual
from rmt.networks.slopes import SquaredSlope as SquaredSlope
