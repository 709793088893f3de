import { readdirSync, readFileSync } from 'node:fs';
import { errnoOf, GantryError, reasonOf } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { NAMED_PHASES, type Phase } from './phase.ts';
import { Pod, phaseDirectory } from './pod.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The one pod whose UUID begins with `prefix`, upper or lower case.
 * @throws GantryError `usage` for an empty one, `not-found`, `ambiguous`
 */
export function findPod(dataDir: string, prefix: string): Pod {
  const beginning = prefix.trim().toLowerCase();
  if (beginning === '') throw new GantryError('usage', 'UUID cannot be empty');
  // A pod can change its phase between the listing and the opening; it does so at most twice.
  for (let attempt = 0; attempt < 3; attempt++) {
    const matches = NAMED_PHASES.flatMap((phase) =>
      podsIn(dataDir, phase)
        .filter((uuid) => uuid.startsWith(beginning))
        .map((uuid) => ({ uuid, phase })),
    );
    const distinct = new Set(matches.map(({ uuid }) => uuid));
    if (distinct.size > 1) {
      throw new GantryError(
        'ambiguous',
        `ambiguous uuid, ${distinct.size} matches for ${quote(prefix)}: give more of its characters`,
      );
    }
    for (const { uuid, phase } of matches) {
      const pod = Pod.open(dataDir, uuid, phase);
      if (pod !== undefined) return pod;
    }
    if (matches.length === 0) break;
  }
  throw new GantryError(
    'not-found',
    `no matches found for ${quote(prefix)}: gantry list shows the pods`,
  );
}

/** The UUIDs of the pods in a phase. */
export function podsIn(dataDir: string, phase: Phase): string[] {
  try {
    return readdirSync(phaseDirectory(dataDir, phase)).filter((name) => UUID.test(name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    const why = errnoOf(error) === 'EACCES' ? 'permission denied: run it as root' : errnoOf(error);
    throw new GantryError(
      'store',
      `cannot read pods directory ${phaseDirectory(dataDir, phase)}: ${why}`,
      { cause: error },
    );
  }
}

/** The UUID in a file that `--uuid-file-save` wrote. @throws GantryError `not-found` */
export function readUuidFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new GantryError(
      'not-found',
      `unable to resolve UUID from file ${path}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
}
