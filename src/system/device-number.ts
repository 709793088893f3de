/** A device's number, as inode and `mknod` name it. */
export interface MajorMinor {
  readonly major: number;
  readonly minor: number;
}

/** What `st_rdev` says, whose low and high parts lie as glibc's gnu_dev_makedev has them (makedev(3)). */
export function splitDevice(rdev: bigint): MajorMinor {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}
