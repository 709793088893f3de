/**
 * Every stable error code. Scripts may match on them (`gantry --debug` and `--format json` show the
 * code); a code is never reused for another meaning.
 */
export type ErrorCode =
  | 'usage' // the words on the command line make no sense
  | 'config' // a configuration file is wrong
  | 'invalid-reference' // an image reference cannot be parsed
  | 'invalid-manifest' // an image or pod manifest breaks the specification
  | 'invalid-archive' // an image archive is damaged, hostile, or too large
  | 'not-found' // no such image, pod, app, key or file
  | 'ambiguous' // a prefix matches more than one image or pod
  | 'discovery' // no endpoint could be discovered for a name
  | 'network' // a transfer failed
  | 'untrusted' // no key trusted for the name vouches for the image
  | 'bad-signature' // a signature exists and does not hold
  | 'bad-key' // a public key cannot be used
  | 'store' // the store is damaged, full, or not writable
  | 'busy' // something holds the lock
  | 'wrong-phase' // the pod is not in a state that allows this
  | 'unsupported' // this kernel, host or flavour cannot do it
  | 'permission' // not allowed as this user
  | 'launch' // the pod could not be set up or started
  | 'interrupted' // a signal ended the operation
  | 'internal'; // a defect in Gantry

/** What a failure says beside its message. */
export interface GantryErrorOptions {
  /** What brought it about; `--debug` prints the chain. */
  cause?: unknown;
}

/**
 * The one error class. `message` is a single line for the operator: what failed, why, and what to
 * do about it. It never holds a secret.
 */
export class GantryError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options: GantryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GantryError';
    this.code = code;
  }
}

/** The errno word (`ENOENT`, `ENOSPC`, …) of a failed system call, or undefined for another error. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    return /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
  }
  return undefined;
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of the path is no directory',
};

/** Why a file cannot be used, in words for the operator. */
export function reasonOf(error: unknown): string {
  const errno = errnoOf(error);
  if (errno === undefined) return error instanceof Error ? error.message : String(error);
  return REASONS[errno] ?? errno;
}
