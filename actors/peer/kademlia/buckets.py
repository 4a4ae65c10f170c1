"""The routing table: 256 buckets of `K` live contacts by XOR distance, with replacement caches.

Rules
1. Only contacts whose liveness was seen enter a bucket; only those are relayed to others.
2. A full bucket never drops a contact for a newcomer: the newcomer waits in the replacement cache while the
   contact that was silent longest is checked, and takes its place only when that check fails. An attacker
   who arrives later, however numerous, does not displace who is there and answers.
3. One subnet holds at most `subnet_per_bucket` places of a bucket and `subnet_per_table` of the table,
   replacement caches included.
4. A record of a higher sequence number replaces one of a lower, in place.

Buckets are numbered by the highest bit in which an id differs from the local one (0 is the nearest).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from actors.peer.kademlia.records import EndpointRecord

K = 16
ALPHA = 3


class Seen(Enum):
    """What became of a record that was shown to the table."""

    ADDED = "added"
    UPDATED = "updated"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(slots=True)
class Bucket:
    """Live contacts, silent longest first, and newcomers that wait, latest last."""

    contacts: dict[bytes, EndpointRecord] = field(default_factory=dict)
    waiting: dict[bytes, EndpointRecord] = field(default_factory=dict)
    refreshed_s: float = 0.0
    subnets: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class SeenOutcome:
    """What `seen` did; `check` is the contact whose liveness decides whether the newcomer enters."""

    seen: Seen
    check: EndpointRecord | None = None


class RoutingTable:
    """Contacts of one node. Holds at most 256 * 2 * K records."""

    def __init__(
        self, local_id: int, *, subnet_per_bucket: int = 2, subnet_per_table: int = 10, k: int = K
    ) -> None:
        """A subnet limit of 0 is off."""
        self.local_id = local_id
        self.k = k
        self._subnet_per_bucket = subnet_per_bucket
        self._subnet_per_table = subnet_per_table
        self._buckets: dict[int, Bucket] = {}
        self._subnets: Counter[str] = Counter()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def contacts(self) -> list[EndpointRecord]:
        """All live contacts."""
        return [record for bucket in self._buckets.values() for record in bucket.contacts.values()]

    def get(self, record_id: int, identity: bytes) -> EndpointRecord | None:
        """The live contact of that identity, or None."""
        bucket = self._buckets.get(self.bucket_of(record_id))
        return None if bucket is None else bucket.contacts.get(identity)

    def bucket_of(self, other_id: int) -> int:
        """Bucket number of an id; -1 for the local id itself."""
        return (self.local_id ^ other_id).bit_length() - 1

    def seen(self, record: EndpointRecord, now_s: float) -> SeenOutcome:
        """The contact answered at its endpoint just now."""
        number = self.bucket_of(record.id)
        if number < 0:
            return SeenOutcome(Seen.REFUSED)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = Bucket(refreshed_s=now_s)
        for place in (bucket.contacts, bucket.waiting):
            old = place.get(record.identity)
            if old is not None:
                return self._update(bucket, place, old, record)
        if not self._admits(bucket, record.subnet):
            return SeenOutcome(Seen.REFUSED)
        if len(bucket.contacts) < self.k:
            bucket.contacts[record.identity] = record
            self._size += 1
            self._count(bucket, record.subnet, 1)
            return SeenOutcome(Seen.ADDED)
        if len(bucket.waiting) >= self.k:
            forgotten = bucket.waiting.pop(next(iter(bucket.waiting)))
            self._count(bucket, forgotten.subnet, -1)
        bucket.waiting[record.identity] = record
        self._count(bucket, record.subnet, 1)
        return SeenOutcome(Seen.WAITING, next(iter(bucket.contacts.values())))

    def failed(self, record_id: int, identity: bytes) -> EndpointRecord | None:
        """The contact did not answer: it leaves, and the latest newcomer, returned, takes its place."""
        bucket = self._buckets.get(self.bucket_of(record_id))
        if bucket is None:
            return None
        for place in (bucket.contacts, bucket.waiting):
            gone = place.pop(identity, None)
            if gone is not None:
                self._count(bucket, gone.subnet, -1)
                if place is bucket.waiting:
                    return None
                self._size -= 1
                return self._promote(bucket)
        return None

    def closest(self, target: int, count: int = K) -> list[EndpointRecord]:
        """Up to `count` live contacts, nearest to `target` first.

        Distances of different buckets do not overlap: those whose bit is set in local_id ^ target come
        first, highest bit first, then the others, lowest bit first. So only single buckets are sorted.
        """
        difference = self.local_id ^ target
        numbers = sorted(self._buckets)
        order = [n for n in reversed(numbers) if difference >> n & 1]
        order += [n for n in numbers if not difference >> n & 1]
        found: list[EndpointRecord] = []
        for number in order:
            contacts = self._buckets[number].contacts.values()
            found += sorted(contacts, key=lambda record: record.id ^ target)
            if len(found) >= count:
                break
        return found[:count]

    def stale(self, now_s: float, refresh_s: float) -> list[int]:
        """Numbers of buckets not looked up in for `refresh_s`; they count as refreshed now."""
        numbers = [n for n, bucket in self._buckets.items() if now_s - bucket.refreshed_s >= refresh_s]
        for number in numbers:
            self._buckets[number].refreshed_s = now_s
        return numbers

    def target_in(self, number: int, random_bits: int) -> int:
        """An id that falls into bucket `number`; `random_bits` is uniform below 2**256."""
        low = random_bits & ((1 << number) - 1)
        return self.local_id ^ (1 << number) ^ low

    def _update(
        self, bucket: Bucket, place: dict[bytes, EndpointRecord], old: EndpointRecord, new: EndpointRecord
    ) -> SeenOutcome:
        kept = old
        if new.sequence > old.sequence:
            self._count(bucket, old.subnet, -1)
            kept = new if self._admits(bucket, new.subnet) else old
            self._count(bucket, kept.subnet, 1)
        del place[old.identity]
        place[kept.identity] = kept
        return SeenOutcome(Seen.UPDATED if place is bucket.contacts else Seen.WAITING)

    def _promote(self, bucket: Bucket) -> EndpointRecord | None:
        if not bucket.waiting:
            return None
        identity, record = bucket.waiting.popitem()
        bucket.contacts[identity] = record
        self._size += 1
        return record

    def _admits(self, bucket: Bucket, subnet: str) -> bool:
        in_bucket = self._subnet_per_bucket == 0 or bucket.subnets[subnet] < self._subnet_per_bucket
        in_table = self._subnet_per_table == 0 or self._subnets[subnet] < self._subnet_per_table
        return in_bucket and in_table

    def _count(self, bucket: Bucket, subnet: str, step: int) -> None:
        for counter in (bucket.subnets, self._subnets):
            counter[subnet] += step
            if counter[subnet] <= 0:
                del counter[subnet]
