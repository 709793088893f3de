import type { ImageId } from '../image/digest.ts';
import type { PodSummary } from './status.ts';
/** Every pod that can be named, oldest first. */
export declare function listPods(dataDir: string): PodSummary[];
/** The images (dependencies included) that pods in any phase are made of: image gc and rm leave them. */
export declare function imagesInUse(dataDir: string): Set<ImageId>;
