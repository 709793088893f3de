/* The programs of a pod's stage1. */
#ifndef GANTRY_ENTRY_H
#define GANTRY_ENTRY_H

/* The path of entry point `name` of the pod of the working directory, by its file `entrypoints`; NULL when
 * its stage1 has none of that name. */
const char *entry_point(const char *name);

#endif
