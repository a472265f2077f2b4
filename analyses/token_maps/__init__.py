"""Which places of an image, and of all images, does a source see alike?

Token maps as colours (:func:`fit_basis`), the similarity of one token to all others of its image
(:func:`similarity_map`), the tokens of a whole store that are nearest to it (:func:`nearest`), and
what a linear probe makes of single tokens (:func:`fit_probe`).
"""

from analyses.token_maps.places import Places, nearest, places_so_far, similarity_map
from analyses.token_maps.principal import Basis, BasisConfig, basis_of_tokens, fit_basis
from analyses.token_maps.probed import TokenProbe, fit_probe, held_out_loss

__all__ = [
    "Basis",
    "BasisConfig",
    "Places",
    "TokenProbe",
    "basis_of_tokens",
    "fit_basis",
    "fit_probe",
    "held_out_loss",
    "nearest",
    "places_so_far",
    "similarity_map",
]
