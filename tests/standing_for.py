"""Fakes in the place of actors."""

from __future__ import annotations

import inspect
from typing import Any


def standing_for(face: type, fake: object, *own: str) -> Any:
    """`fake` as that face; who asks names the face's type.

    It may have a part of the face's methods, those that are called, each of which must take its arguments.
    own: methods of the fake that share no more than their name with one of the face.
    """
    for name, method in vars(face).items():
        if not inspect.isfunction(method) or name.startswith("_") or name in own or not hasattr(fake, name):
            continue
        parameters = [each for each in inspect.signature(method).parameters if each != "self"]
        inspect.signature(getattr(fake, name)).bind(*parameters)
    return fake
