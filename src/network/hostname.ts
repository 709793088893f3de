import { GantryError } from '../error.ts';

/** sethostname(2): __NEW_UTS_LEN. */
const MAX_LENGTH = 64;

/** The host name of a pod that was not given one. */
export function defaultHostname(uuid: string): string {
  return `gantry-${uuid}`;
}

/**
 * A host name as it may stand in /etc/hosts and be given to sethostname(2).
 * @throws GantryError `usage`
 */
export function parseHostname(text: string): string {
  const label = '[a-z0-9]([a-z0-9-]*[a-z0-9])?';
  if (text.length <= MAX_LENGTH && new RegExp(`^${label}(\\.${label})*$`, 'i').test(text)) {
    return text;
  }
  throw new GantryError(
    'usage',
    `invalid host name ${JSON.stringify(text)}: letters, digits, inner hyphens and dots, at most ${MAX_LENGTH} characters`,
  );
}
