import type { Pod } from './pod.ts';
/** The launch plan for people: one step a line, words quoted as a shell reads them. */
export declare function formatPlan(pod: Pod): string;
