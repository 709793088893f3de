/** Longer user ids and reasons are cut: they come from a stranger's file. */
const MAX_LENGTH = 200;

/**
 * Text from outside, safe on one line of a terminal: control characters, line breaks and the
 * invisible characters that reorder text are replaced, so that a user id cannot forge a line of
 * the review prompt or a log.
 */
export function printable(text: string): string {
  const safe = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu, '\uFFFD').trim();
  return safe.length > MAX_LENGTH ? `${safe.slice(0, MAX_LENGTH)}…` : safe;
}

/** A time as messages print it: UTC, to the second. */
export function printableTime(time: Date): string {
  return time.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** The reason a failed call of a library gives, which may quote the stranger's file. */
export function printableReason(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}

/** A fingerprint in groups of four, with a wider gap in the middle, as gpg and rkt print it. */
export function displayFingerprint(fingerprint: string): string {
  const groups = fingerprint.toUpperCase().match(/.{4}/g) ?? [];
  const half = groups.length / 2;
  return `${groups.slice(0, half).join(' ')}  ${groups.slice(half).join(' ')}`;
}

/** Text from outside as one word of a command line that an operator may copy into a shell. */
export function shellWord(text: string): string {
  const safe = printable(text);
  return /^[\w@%+=:,./-]+$/.test(safe) ? safe : `'${safe.replaceAll("'", "'\\''")}'`;
}
