import type { PodManifest } from '../image/pod-manifest.ts';
import type { Pod } from './pod.ts';
/** The stored pod manifest, as bytes-for-bytes text. @throws wrong-phase where there is none yet */
export declare function readManifestText(pod: Pod): string;
export declare function readManifest(pod: Pod): PodManifest;
