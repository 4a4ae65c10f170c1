"""Why a program is refused."""

from __future__ import annotations


class ProgramError(Exception):
    """A program that no chain accepts.

    what: what is wrong. where: in which function and operation, or empty. limit: the bound that does not
    hold, or None.
    """

    def __init__(self, what: str, limit: int | None = None, where: str = "") -> None:
        super().__init__(what, limit, where)
        self.what, self.limit, self.where = what, limit, where

    def at(self, where: str) -> ProgramError:
        """The same, said of this place."""
        return ProgramError(self.what, self.limit, f"{where}, {self.where}" if self.where else where)

    def __str__(self) -> str:
        bound = "" if self.limit is None else f", the limit is {self.limit}"
        return f"{self.where}: {self.what}{bound}" if self.where else f"{self.what}{bound}"


def at_most(what: str, number: int, limit: int) -> None:
    """Raise ProgramError if `number` exceeds `limit`."""
    if number > limit:
        raise ProgramError(f"{what}: {number}", limit)
