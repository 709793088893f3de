import type { Pod } from './pod.ts';
/** prepared → run, then this process becomes the pod's supervisor. `environment` defaults to process.env (NOTIFY_SOCKET, TERM … are picked from it). */
export declare function startPod(
  pod: Pod,
  options?: { debug?: boolean; environment?: NodeJS.ProcessEnv },
): never;
