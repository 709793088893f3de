import type { Pod } from './pod.ts';
/** Removes a pod that is not at work. `info` lines as rkt prints them (moving expired prepared pod … to garbage). @throws wrong-phase */
export declare function removePod(pod: Pod, info?: (line: string) => void): void;
