/** fsconfig(2) takes no longer value. */
const MAX_OPTION_BYTES = 255;

/** Whether the lower directories of an overlay can be given by one mount option. */
export function fitsOneOption(lowers: readonly string[]): boolean {
  return Buffer.byteLength(lowers.join(':')) <= MAX_OPTION_BYTES;
}

/**
 * The mount options that name an overlay's lower directories, top first: one, which every kernel
 * understands, where it can hold them all, else one each (Linux 6.5). The kernel takes 500 of them
 * (OVL_MAX_STACK).
 */
export function lowerOptions(lowers: readonly string[]): string[] {
  return fitsOneOption(lowers)
    ? [`lowerdir=${lowers.join(':')}`]
    : lowers.map((lower) => `lowerdir+=${lower}`);
}
