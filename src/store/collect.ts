import type { ImageId } from '../image/digest.ts';
import type { ImageIndex } from './image-index.ts';
import type { StoreLayout } from './layout.ts';

/** What `imageGc` may remove. */
export interface CollectOptions {
  /** Images of existing pods: never removed. */
  readonly inUse: ReadonlySet<ImageId>;
  /** Images used within this many seconds stay. */
  readonly graceSeconds: number;
  /** Only say what would be removed. */
  readonly dryRun?: boolean;
}

/** What `imageGc` removed. */
export interface CollectSummary {
  readonly images: readonly { readonly id: ImageId; readonly name: string }[];
  /** Names of trees below layers/ that no record named. */
  readonly layers: readonly string[];
  /** Blobs no record named, and directories of broken-off work. */
  readonly leftovers: readonly string[];
  /** Images that could not be removed, and why. */
  readonly failures: readonly { readonly id: ImageId; readonly error: Error }[];
}
