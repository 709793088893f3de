/* What stays resident while a pod runs. */
#ifndef GANTRY_MEMORY_H
#define GANTRY_MEMORY_H

/* Lets go of the program's own code once setting up is done; the few pages the waiting loop needs
 * come back from the page cache. */
void release_code(void);

#endif
