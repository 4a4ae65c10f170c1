"""What storage refuses, each a type of its own. All survive pickling: callers sit in other processes."""

from __future__ import annotations


class StorageError(Exception):
    """Base. `args` are the parts of the message, so that instances pickle."""

    TEMPLATE = "{}"

    def __str__(self) -> str:
        return self.TEMPLATE.format(*self.args)


class StaleEpochError(StorageError):
    """A call of an incarnation of consensus that a later one fenced off. Args: its epoch, the current one."""

    TEMPLATE = "epoch {} is fenced off: the current epoch is {}"


class WrongNetworkError(StorageError):
    """The directory holds another network. Args: directory, chain found there, chain asked for."""

    TEMPLATE = "{} holds the chain {}, but the genesis given is of chain {}; choose another data directory"


class DirectoryInUseError(StorageError):
    """Another process has the directory open. Args: directory, what the lock file says of the holder."""

    TEMPLATE = "{} is in use by process {}; only one process may open it"


class SchemaError(StorageError):
    """The directory is of a schema that this version does not read. Args: directory, found, supported."""

    TEMPLATE = "{} has schema version {}, this version reads {}"


class CorruptionError(StorageError):
    """Stored bytes are not what was written. Args: column family, key, what is wrong."""

    TEMPLATE = "corrupt value in column family {} at key {}: {}"


class DiskFullError(StorageError):
    """Nothing is written until there is room; reads go on. Args: directory, bytes free, bytes needed."""

    TEMPLATE = "{} is read-only: {} bytes are free, {} are needed; free some space and it goes on by itself"


class NoSpaceError(StorageError):
    """The directory cannot be opened, since its disk is full. Args: directory, bytes free."""

    TEMPLATE = "{} cannot be opened: the disk is full ({} bytes free); free some space and start again"


class AllocationError(StorageError):
    """The allocation file does not match the genesis. Args: field, in the file, in the genesis."""

    TEMPLATE = "allocation.{}: got {}, the genesis says {}"


class HeightError(StorageError):
    """A call is out of order. Args: call, height given, height expected."""

    TEMPLATE = "{}: got height {}, expected {}"


class HeaderError(StorageError):
    """A header does not describe the block that was executed. Args: field, in the header, as it must be."""

    TEMPLATE = "header.{}: got {}, must be {}"


class ConflictError(StorageError):
    """Another block stands at this height. Args: height, hash given, hash committed."""

    TEMPLATE = "height {}: got block {}, but block {} is committed"


class SpeculationLimitError(StorageError):
    """Too many executed blocks wait for the disk. Args: waiting, limit."""

    TEMPLATE = "{} executed blocks wait to be committed, at most {} may"


class NotRetainedError(StorageError):
    """Nothing is proven at this height. Args: height, oldest and newest height with proofs."""

    TEMPLATE = "no state proof at height {}: there are proofs for heights {} to {}"
