/* Directories, files, devices and links a plan makes. */
#ifndef GANTRY_FILE_H
#define GANTRY_FILE_H

#include "step.h"

int perform_make_directory(struct launch *launch, const struct step *step);
int perform_make_file(struct launch *launch, const struct step *step);
int perform_write_file(struct launch *launch, const struct step *step);
int perform_make_device(struct launch *launch, const struct step *step);
int perform_symlink(struct launch *launch, const struct step *step);

#endif
