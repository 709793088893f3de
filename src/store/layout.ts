import { join } from 'node:path';
import type { Digest, ImageId } from '../image/digest.ts';

/** Where everything lies below the store's directory (specs/store.md). Pure: nothing is touched. */
export class StoreLayout {
  readonly dir: string;
  readonly images: string;
  readonly layers: string;
  readonly blobs: string;
  readonly staging: string;
  readonly locks: string;

  constructor(dir: string) {
    this.dir = dir;
    this.images = join(dir, 'images');
    this.layers = join(dir, 'layers');
    this.blobs = join(dir, 'blobs');
    this.staging = join(dir, 'staging');
    this.locks = join(dir, 'locks');
  }

  record(id: ImageId): string {
    return join(this.images, `${id}.json`);
  }

  layer(id: string): string {
    return join(this.layers, id);
  }

  /** What lies beside the tree `id`: of a rendering, which images it was made of; of a layer, see `LayerNote`. */
  note(id: string): string {
    return join(this.layers, `${id}.json`);
  }

  blob(digest: Digest): string {
    return join(this.blobs, digest.algorithm, digest.hex);
  }
}
