/* Ending every process below this one, where no PID namespace does it. */
#ifndef GANTRY_DESCENDANTS_H
#define GANTRY_DESCENDANTS_H

/*
 * From here on every process below this one whose parent ends becomes its child. 1; 0 when nothing was
 * changed, since this process has children already, which then are not ours to end; -1 with errno. Needs
 * /proc, so before the root changes.
 */
int adopt_descendants(void);

/* KILL to every process below this one that can be found now. Only after adopt_descendants(). */
void kill_descendants(void);
/* Returns when none is left; all have been waited for. */
void end_descendants(void);

#endif
