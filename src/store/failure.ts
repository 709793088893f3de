import { errnoOf, GantryError } from '../error.ts';

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is exhausted',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied; run as root',
  EPERM: 'operation not permitted; run as root',
  EIO: 'input/output error; check the disk',
  EMFILE: 'too many open files',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  EEXIST: 'it is there already',
};

/**
 * Turns what a system call threw while writing below `dir` into one line that names the directory
 * and what to do. What already is a GantryError passes unchanged.
 */
export function storeFailure(dir: string, doing: string, error: unknown): GantryError {
  if (error instanceof GantryError) return error;
  const errno = errnoOf(error);
  const remedy = errno === 'ENOSPC' || errno === 'EDQUOT' ? '; free some or use another --dir' : '';
  return new GantryError('store', `cannot ${doing} in ${dir}: ${reasonOf(error)}${remedy}`, {
    cause: error,
  });
}

/** Why a system call failed, in words; the message of anything else. */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  return (errno === undefined ? undefined : reasons[errno]) ?? messageOf(error);
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
