import { isRootless } from './ordinary-user.ts';

/**
 * The extended attribute by which overlayfs, as this process mounts it, knows an opaque directory
 * (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"). In a user namespace nobody may
 * write `trusted.` attributes, and overlayfs is mounted with `userxattr`.
 */
export const OPAQUE_ATTRIBUTE = isRootless() ? 'user.overlay.opaque' : 'trusted.overlay.opaque';
