/* The machine's first file system: a cpio archive as the kernel takes it (buffer-format.rst, "newc"). */
#ifndef GANTRY_INITRD_H
#define GANTRY_INITRD_H

#include "../launch/step.h"

/* `initrd PATH NAME FILE NAME FILE…`: a new archive at PATH in which each FILE is a NAME, with the directories
 * above it; every file may be executed. 0, or -errno about *file. */
int perform_initrd(const struct step *step, const char **file);

#endif
