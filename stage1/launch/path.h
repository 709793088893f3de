/* Resolving paths inside what may be a hostile tree. */
#ifndef GANTRY_PATH_H
#define GANTRY_PATH_H

/* An O_PATH descriptor for `path`, or -errno. Symbolic links are followed, but no magic link of
 * /proc, so the result lies beneath the root of the process. `flags` adds O_DIRECTORY or O_NOFOLLOW. */
int open_path(const char *path, int flags);
/* The same, but -ELOOP where any part of the path is a symbolic link. */
int open_straight_path(const char *path);
/* An O_PATH descriptor for the directory `path` lies in; *leaf is its last component. */
int open_parent(const char *path, const char **leaf);

#endif
