#include "memory.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char __executable_start[], etext[];

void release_code(void)
{
#ifndef SANITIZED
	/* Private, file-backed and never written: dropping it loses nothing. Faults map 16 pages at a
	 * time, so after set-up nearly all of a static program is resident. */
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)__executable_start & ~(page - 1);
	madvise((void *)start, ((uintptr_t)etext - start) & ~(page - 1), MADV_DONTNEED);
#endif
}
