"""Networks: `init`, `start`, `apply`, `unroll`. A feed-forward network has the memory ()."""

from collections.abc import Callable
from importlib import import_module

from ..types import UserError
from .network import Network

NETWORKS = {
    "mlp": ("adaptax.nets.mlp:mlp", "feed-forward layers; remembers nothing"),
    "gru": ("adaptax.nets.recurrent:gru", "gated recurrent unit (Cho et al. 2014)"),
    "lstm": ("adaptax.nets.recurrent:lstm", "long short-term memory (Hochreiter & Schmidhuber 1997)"),
    "transformer": ("adaptax.nets.transformer:transformer", "attention over the whole trial (Vaswani et al. 2017)"),
}

RECURRENT = ("gru", "lstm", "transformer")  # those with a memory
BOUNDED = ("transformer",)  # whose memory holds at most `span` steps


def recurrent_network(name: str) -> Callable[[int, int, int], Network]:
    """The recurrent network called `name`: a function of (inputs, hidden, span)."""
    if name not in RECURRENT:
        raise UserError(f"network is {name!r}; the recurrent networks are {', '.join(RECURRENT)}")
    module, attribute = NETWORKS[name][0].split(":")
    return getattr(import_module(module), attribute)
