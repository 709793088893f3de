import type { Field } from './document.ts';

/** The system calls take (uid_t) -1 for "no change": it is no id. */
const largest = 0xffff_fffe;

/** A numeric user or group id. */
export function readUserId(field: Field): number {
  return field.integer(0, largest);
}
