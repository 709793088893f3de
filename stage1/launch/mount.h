/* Mounts, all by descriptor: a target is resolved once and then held (fsopen, open_tree, move_mount,
 * mount_setattr; Linux 5.12). */
#ifndef GANTRY_MOUNT_H
#define GANTRY_MOUNT_H

#include "step.h"

_Bool mount_flags_ok(const char *flags);

int perform_private_mounts(struct launch *launch, const struct step *step);
int perform_unshare(struct launch *launch, const struct step *step);
int perform_pivot_root(struct launch *launch, const struct step *step);
int perform_mount(struct launch *launch, const struct step *step);
int perform_mount_attributes(struct launch *launch, const struct step *step);
int perform_open_tree(struct launch *launch, const struct step *step);
int perform_move_tree(struct launch *launch, const struct step *step);
int perform_tree_attributes(struct launch *launch, const struct step *step);
int perform_mask(struct launch *launch, const struct step *step);
int perform_read_only(struct launch *launch, const struct step *step);

/* A new file system of `type` without source or options, mounted nowhere; -errno. */
int detached_mount(const char *type);
/* Attaches the detached mount `tree` over `target`. */
int attach_tree(int tree, const char *target);

#endif
