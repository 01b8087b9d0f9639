"""Animations of what agents did: drawn from plain arrays, without JAX.

`PICTURES` says how each benchmark is drawn: a function of the task's fields by name that returns a `film.Picture`. An
environment that offers `frame(task, state)` draws itself (`image`).
"""

from importlib import import_module

from .film import Path, Picture, Shot, film
from .write import check_writable, write

PICTURES = {
    "navigation": "adaptax.render.plane:navigation",
    "clustered-navigation": "adaptax.render.plane:navigation",
    "sparse-navigation": "adaptax.render.plane:sparse_navigation",
    "corner": "adaptax.render.plane:corner",
    "momentum-corner": "adaptax.render.plane:corner",
    "treasure": "adaptax.render.plane:treasure",
    "gridnavi": "adaptax.render.grid:gridnavi",
    "rooms": "adaptax.render.grid:rooms",
    "toy-1d": "adaptax.render.line:toy",
    "bandit": "adaptax.render.arms:bandit",
    "gaussian-bandit": "adaptax.render.arms:gaussian_bandit",
    "tabular-mdp": "adaptax.render.table:tabular_mdp",
    "cart-pole": "adaptax.render.classic:cart_pole",
    "pendulum": "adaptax.render.classic:pendulum",
}


def picture_of(benchmark: str, task: dict) -> Picture | None:
    """How tasks of the benchmark of this name are drawn; None if they are not."""
    if benchmark not in PICTURES:
        return None
    module, attribute = PICTURES[benchmark].split(":")
    return getattr(import_module(module), attribute)(task)


__all__ = ["PICTURES", "Path", "Picture", "Shot", "check_writable", "film", "picture_of", "write"]
