import type { Pod } from './pod.ts';
/** The one pod whose UUID starts with `prefix`. @throws GantryError not-found, ambiguous, usage (empty) */
export declare function findPod(dataDir: string, prefix: string): Pod;
/** The UUID in a file `--uuid-file-save` wrote. */
export declare function readUuidFile(path: string): string;
