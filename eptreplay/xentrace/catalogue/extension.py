"""Events that no Xen writes: what a replay wants to know and a stock trace does not tell.

They stand in an unused stretch of class mem, so that mask, file format and tools need no change. A hypervisor that
wants to can write them, and so can a program that makes a recording up. All carry a TSC.

``view``: which p2m of the domain: 0 the host's, 1 + n altp2m n, 256 + n nested p2m n. ``cause``: position in
``eptreplay.causes.CAUSES``. Types and accesses are Xen's numbers, as in ``eptreplay.p2m_types``.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

HOST_VIEW = 0
"""``view``: the domain's own p2m."""
ALTP2M_VIEWS = 1
"""``view``: altp2m 0; altp2m n is ``ALTP2M_VIEWS + n``."""
NESTED_VIEWS = 0x100
"""``view``: the first nested p2m; nested p2m n is ``NESTED_VIEWS + n``."""

SET_OLD_PRESENT = 1 << 0
"""``flags`` of P2M_SET: the old entry granted a right, whatever its type says."""
SET_SPLIT = 1 << 1
"""``flags`` of P2M_SET: a larger leaf was split to get at the entry; ``old_type`` is that of the leaf."""
SET_TABLE_REPLACED = 1 << 2
"""``flags`` of P2M_SET: the old entry was a table, which is freed. It has no type: ``old_type`` is 0."""
SET_OLD_ABSENT = 1 << 3
"""``flags`` of P2M_SET: the old entry granted no right, though its type may. With neither this nor SET_OLD_PRESENT,
``old_type`` tells."""

GLOBAL_RANGE = 1 << 0
"""``flags`` of P2M_GLOBAL_CHANGE: the frames from ``first_gfn`` to ``last_gfn``, both included; else the whole p2m."""
GLOBAL_MEMORY_TYPES = 1 << 1
"""``flags`` of P2M_GLOBAL_CHANGE: only memory types are recalculated, so that ``old_type`` and ``new_type`` say
nothing."""

CLEAN = 0
"""``op`` of LOGDIRTY_CLEAN_BEGIN and LOGDIRTY_CLEAN_END: the list is taken, and pages are tracked anew
(XEN_DOMCTL_SHADOW_OP_CLEAN)."""
PEEK = 1
"""``op`` of LOGDIRTY_CLEAN_BEGIN and LOGDIRTY_CLEAN_END: the list is only read (XEN_DOMCTL_SHADOW_OP_PEEK)."""
SCAN_VRAM = 2
"""``op`` of LOGDIRTY_CLEAN_BEGIN and LOGDIRTY_CLEAN_END: the same as 0, for the video memory
(hap_track_dirty_vram())."""

LEVEL_UNKNOWN = 0xFFFF_FFFF
"""``level`` of PT_PAGE_FREE where nobody knows it any more: a whole p2m is emptied."""

INVEPT_SINGLE = 1
"""``type`` of INVEPT, as the instruction has it: single-context, the translations of one p2m."""
INVEPT_ALL = 2
"""``type`` of INVEPT: all-context."""

_SET = "gfn:u64 mfn:u64 old_type:u8 new_type:u8 order:u8 flags:u8 domid:u16 view:u16 access"
_GLOBAL = "domid:u16 view:u16 old_type:u8 new_type:u8 flags:u16 first_gfn:u64 last_gfn:u64"
_PAGE = "mfn:u64 domid:u16 order:u16"
_VIEW = "domid:u16 view:u16"
_CLEAN = "domid:u16 op:u16"
_DOMAIN = "domid:u16 reserved:u16"

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x10F040, "P2M_HOLD_BEGIN", True, _VIEW + " cause",
          "the outermost p2m write lock is taken", ept=True,
          where="p2m_lock() in arch/x86/mm/mm-locks.h",
          when="the lock has just been acquired and defer_flush has become 1; not at inner, recursive acquisitions"),
    Event(0x10F041, "P2M_HOLD_END", True, _VIEW,
          "the outermost p2m write lock is released", ept=True,
          where="p2m_unlock_and_tlb_flush() in arch/x86/mm/p2m.c",
          when="first of all, before mm_write_unlock(), so that no other hold begins earlier than this one ends"),
    Event(0x10F042, "P2M_SET", True, _SET,
          "a p2m entry is written, with what it was before", ept=True,
          where="ept_set_entry() in arch/x86/mm/p2m-ept.c; on AMD p2m_pt_set_entry() in arch/x86/mm/p2m-pt.c",
          when="the entry has just been stored, before ept_sync_domain(); not if that failed; under the p2m lock"),
    Event(0x10F043, "P2M_GLOBAL_CHANGE", True, _GLOBAL,
          "a type changes for a whole range, lazily", ept=True,
          where="ept_change_entry_type_global(), ept_change_entry_type_range() and ept_memory_type_changed() in "
                "arch/x86/mm/p2m-ept.c",
          when="the entries have been marked, before ept_sync_domain(), also if none was marked; under the p2m lock"),
    Event(0x10F044, "PT_PAGE_FREE", True, _VIEW + " level mfn:u64",
          "a page of the p2m itself is freed", ept=True,
          where="ept_free_entry() in arch/x86/mm/p2m-ept.c; for a p2m that is emptied p2m_flush_table_locked() in "
                "arch/x86/mm/p2m.c",
          when="directly before the page goes back to the paging pool (p2m_free_ptp()), once for each, lowest tables "
               "first; under the p2m lock"),
    Event(0x10F045, "PAGE_FREE", True, _PAGE,
          "a domain's pages go to the allocator", ept=True,
          where="free_domheap_pages() in common/page_alloc.c",
          when="directly before free_heap_pages(), for pages that a domain owned; under no lock"),
    Event(0x10F046, "PAGE_ALLOC", True, _PAGE,
          "pages go to a domain", ept=True,
          where="alloc_domheap_pages() in common/page_alloc.c",
          when="at the end: the allocator's TLB flush is over and the pages have got their owner; under no lock"),
    Event(0x10F047, "POD_CACHE_ADD", True, _PAGE,
          "pages go to the populate-on-demand cache", ept=True,
          where="p2m_pod_cache_add() in arch/x86/mm/p2m-pod.c",
          when="the pages have just been put on the cache's list; under the PoD lock"),
    Event(0x10F048, "FOREIGN_LOOKUP", True, "gfn:u64 count domid:u16 preemptible:u16",
          "another domain looks up entries of this p2m", ept=True,
          where="arch_do_domctl(), XEN_DOMCTL_getpageframeinfo3, in arch/x86/domctl.c; do_mmu_update() in "
                "arch/x86/mm.c for a translated domain's pages",
          when="before the first lookup, once for the whole batch; under no lock of the p2m"),
    Event(0x10F049, "PML_DRAIN", True, "domid:u16 vcpu:u16 count",
          "a vCPU's PML buffer is emptied", ept=True,
          where="vmx_vcpu_flush_pml_buffer() in arch/x86/hvm/vmx/vmcs.c (4.17); ept_vcpu_flush_pml_buffer() in "
                "arch/x86/mm/p2m-ept.c (4.22)",
          when="the log is known not to be empty, before its first entry is handled and, in 4.22, before the p2m lock "
               "is taken for all of them"),
    Event(0x10F04A, "LOGDIRTY_CLEAN_BEGIN", True, _CLEAN,
          "the toolstack asks for the dirty pages", ept=True,
          where="paging_log_dirty_op() in arch/x86/mm/paging.c; hap_track_dirty_vram() in arch/x86/mm/hap/hap.c",
          when="behind domain_pause(), before p2m_flush_hardware_cached_dirty(); not when a preempted call resumes"),
    Event(0x10F04B, "LOGDIRTY_CLEAN_END", True, _CLEAN,
          "the dirty pages are handed over", ept=True,
          where="paging_log_dirty_op() in arch/x86/mm/paging.c; hap_track_dirty_vram() in arch/x86/mm/hap/hap.c",
          when="the pages are tracked again, before domain_unpause(); not when the call is preempted"),
    Event(0x10F04C, "DOMAIN_PAUSE", True, _DOMAIN,
          "all vCPUs are stopped", ept=True,
          where="domain_pause() in common/domain.c",
          when="at the end, when none of the vCPUs runs any more; at each call, as calls are counted"),
    Event(0x10F04D, "DOMAIN_UNPAUSE", True, _DOMAIN,
          "the vCPUs may run again", ept=True,
          where="domain_unpause() in common/domain.c",
          when="first of all, before any vCPU is woken; at each call"),
    Event(0x10F04E, "BCAST_BEGIN", True, _VIEW + " targets",
          "invalidation sent to other pCPUs", ept=True,
          where="ept_sync_domain_mask() in arch/x86/mm/p2m-ept.c",
          when="directly before on_selected_cpus(), so before waiting for its lock; under the p2m lock or behind it"),
    Event(0x10F04F, "BCAST_END", True, _VIEW,
          "the last pCPU has acknowledged", ept=True,
          where="ept_sync_domain_mask() in arch/x86/mm/p2m-ept.c",
          when="directly behind on_selected_cpus()"),
    Event(0x10F050, "INVEPT", True, _VIEW + " type",
          "INVEPT executed on this pCPU", ept=True,
          where="vmx_vmenter_helper() in arch/x86/hvm/vmx/vmx.c",
          when="directly behind the instruction, before the record HVM_VMENTRY; interrupts are off"),
)
# fmt: on

FIELDS = {
    "domid": "domain whose p2m it is",
    "view": "which p2m of the domain",
    "cause": "why the lock is taken: a number of the table of causes",
    "gfn": "first guest frame number, a multiple of 2^order",
    "mfn": "first machine frame number",
    "order": "2^order pages of 4 KiB",
    "old_type": "Xen's number of the p2m type before; 1 (invalid) of an entry that was empty",
    "new_type": "Xen's number of the p2m type afterwards",
    "flags": "bits, see the numbers below",
    "access": "Xen's number of the access that the entry has now",
    "first_gfn": "first frame of a range; else 0",
    "last_gfn": "last frame of a range; else 2^64 - 1",
    "level": "of the entries in the table: 0 for 4 KiB each, 1 for 2 MiB, 2 for 1 GiB, 3 for 512 GiB; 2^32 - 1 unknown",
    "count": "how many",
    "preemptible": "1 if Xen may turn to something else between two of them, else 0",
    "vcpu": "vCPU whose log it is",
    "op": "what the toolstack asks for: 0 clean, 1 peek, 2 scan of the video memory",
    "reserved": "0",
    "targets": "pCPUs that are interrupted, the sender not counted",
    "type": "of the instruction: 1 single-context, 2 all-context",
    "P2M_SET.order": "0, 9 or 18: 2^order pages of 4 KiB",
    "P2M_SET.mfn": "first machine frame number; 2^64 - 1 of an entry without one",
    "P2M_GLOBAL_CHANGE.old_type": "Xen's number of the type that changes; as new_type if it is only recalculated",
    "P2M_GLOBAL_CHANGE.new_type": "Xen's number of the type that it becomes",
    "PT_PAGE_FREE.mfn": "machine frame of the table",
    "PAGE_FREE.domid": "domain that owned the pages",
    "PAGE_ALLOC.domid": "domain that owns the pages from now on",
    "FOREIGN_LOOKUP.gfn": "the first of the frames that are looked up",
    "FOREIGN_LOOKUP.count": "lookups, of which each takes the p2m read lock",
    "FOREIGN_LOOKUP.domid": "domain whose p2m is read",
    "PML_DRAIN.domid": "domain of the vCPU",
    "PML_DRAIN.count": "entries of the log, 1 to 512",
    "LOGDIRTY_CLEAN_BEGIN.domid": "domain whose pages are tracked",
    "LOGDIRTY_CLEAN_END.domid": "domain whose pages are tracked",
    "DOMAIN_PAUSE.domid": "domain that is paused",
    "DOMAIN_UNPAUSE.domid": "domain that is unpaused",
    "INVEPT.domid": "domain that is entered",
    "INVEPT.view": "which p2m of the domain; with type 2 the host's",
}
"""What a field of an extension event holds, by its name, or by ``EVENT.name`` where one event differs."""

CAUSE_SITES = {
    "logdirty_fault": "hvm_hap_nested_page_fault(): a write to an entry of type ram_logdirty",
    "pod_fault": "hvm_hap_nested_page_fault(): an entry of type populate_on_demand",
    "spurious": "hvm_hap_nested_page_fault(): an entry of any other type, which stays as it is",
    "misconfig": "ept_handle_misconfig()",
    "populate": "XENMEM_populate_physmap: guest_physmap_add_page(), mark_populate_on_demand()",
    "decrease": "XENMEM_decrease_reservation: guest_remove_page(), p2m_pod_decrease_reservation()",
    "physmap": "XENMEM_add_to_physmap, set_mmio_p2m_entry(), clear_mmio_p2m_entry()",
    "grant": "create_grant_p2m_mapping(), replace_grant_p2m_mapping()",
    "foreign": "XENMEM_add_to_physmap_batch with pages of another domain",
    "logdirty_global": "p2m_change_entry_type_global(), p2m_change_type_range(), p2m_flush_hardware_cached_dirty(), "
           "the scan of hap_track_dirty_vram()",
    "pml": "vmx_vcpu_flush_pml_buffer() (4.17), ept_vcpu_flush_pml_buffer() (4.22): the drain of one log",
    "pod_reclaim": "p2m_pod_zero_check(), p2m_pod_zero_check_superpage() outside of a fault",
    "mem_access": "p2m_set_mem_access(), p2m_mem_access_check()",
    "other": "any other, and all that do not say why",
}  # fmt: skip
"""Which functions or hypercalls take the lock for which cause."""


def about_field(event: str, field: str) -> str:
    """Return what a field of an extension event holds."""
    return FIELDS.get(f"{event}.{field}") or FIELDS[field]
