"""What must survive a crash: the door to the disk, and the mirrored journal."""

from typing import TYPE_CHECKING

from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.foundations.store.disk import BusyError, Disk
    from trimtab.foundations.store.journal import Found, Journal, JournalDamagedError, JournalDiskError, Problem

__getattr__ = lazily(
    __name__,
    {
        "BusyError": "disk",
        "Disk": "disk",
        "Found": "journal",
        "Journal": "journal",
        "JournalDamagedError": "mirror",
        "JournalDiskError": "journal",
        "Problem": "mirror",
    },
)

__all__ = ["BusyError", "Disk", "Found", "Journal", "JournalDamagedError", "JournalDiskError", "Problem"]
