import type { Pod } from './pod.ts';
import type { PodRequest, PrepareContext } from './request.ts';
/** embryo → prepare → prepared; the pod comes back with its lock held. */
export declare function preparePod(context: PrepareContext, request: PodRequest): Promise<Pod>;
